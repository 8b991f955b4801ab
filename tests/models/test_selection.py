import numpy as np

from pipeline.models.selection import information, select


def rows(n: int = 600, seed: int = 0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 7, n)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    x[:, 2] += y
    x[:, 3] = np.where(rng.random(n) < 0.5, np.nan, x[:, 3])
    x[y == 6, 4] = np.nan
    x[:, 5] = 1.0
    return x, y, np.ones(n)


def test_what_tells_most_is_kept_and_gaps_that_tell_count_as_telling():
    x, y, weight = rows()
    assert select(x, y, weight, 2).tolist() == [2, 4]


def test_what_never_varies_and_what_nobody_has_is_never_kept():
    x, y, weight = rows()
    x[:, 0] = np.nan
    worth = information(x, y, weight)
    assert worth[0] == -np.inf or abs(worth[0]) < 0.05
    assert 0 not in select(x, y, weight, 99)
    assert 5 not in select(x, y, weight, 99)
    assert select(np.full((9, 2), np.nan, np.float32), np.arange(9) % 7, np.ones(9), 5).tolist() == [0]


def test_noise_has_no_information_on_average():
    rng = np.random.default_rng(1)
    draws = [(rng.normal(size=(400, 1)).astype(np.float32), rng.integers(0, 7, 400)) for _ in range(60)]
    noise = [information(x, y, np.ones(400))[0] for x, y in draws]
    assert abs(np.mean(noise)) < 3 * np.std(noise) / np.sqrt(60) + 0.004


def test_only_the_rows_given_have_a_say():
    x, y, weight = rows()
    chosen = select(x[:300], y[:300], weight[:300], 3).tolist()
    x[300:], y[300:] = 1e9, 0
    assert select(x[:300], y[:300], weight[:300], 3).tolist() == chosen
