"""Names as anybody can give them to a token on a chain: one list for every place where a name is shown."""

HOSTILE_NAMES = {
    "tags": "<script>window.pwned=1</script><img src=x onerror=window.pwned=1><svg onload=window.pwned=1>",
    "attributes": "\"><img src=x onerror='window.pwned=1'> ' onmouseover=window.pwned=1 x='",
    "markdown": "[claim](https://evil.example) ![x](https://evil.example/x.png) `code` \n\n# head\n\n| a | b |",
    "script links": "[x](javascript:window.pwned=1) <javascript:window.pwned=1> data:text/html,<script>pwned</script>",
    "formulas": "=cmd|' /C calc'!A0",
    "more formulas": "+1+1 @SUM(A1) \uff1d1+1 -2+3",
    "terminal": "\x1b[2J\x1b]0;title\x07\x1b[31mred\x9b31m",
    "directions": "\u202egnp.exe\u2066x\u2069\u200b\u200d\ufeff\u2028\u2029",
    "nothing": "\x00",
    "long": "A" * 100_000,
    "long forms": "\ufdfa" * 5_000,
    "templates": "{{7*7}} {x} ${HOME} $(id) %s %n #{x} \\u003cscript\\u003e &lt;script&gt;",
    "sql": "'; DROP TABLE pools; -- \" ` \\",
    "paths": "../../etc/passwd /etc/passwd C:\\x ..\\..\\x",
    "log lines": "x\nERROR: all is lost\r\nINFO: all is well",
    "rich": "[red]x[/red] [link=https://evil.example]x[/link] [/]",
    "mentions": "@everyone @here <!channel> <@U123>",
}  # fmt: skip
"""What each tries, and the name. Lone surrogates are no text of Arrow's: a record with one is refused before."""
