"""The watch: sees a change, asks for a run; schedules live here too; decides nothing itself."""
