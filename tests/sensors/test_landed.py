"""Files are taken once nobody writes them any more, and soon after."""

from collections.abc import Sequence

from sensors.landed import PATIENCE, SETTLE, LandedFile, looked_for, remembered


class World:
    """Files that change as time passes, without anybody waiting."""

    def __init__(self, *changes: tuple[float, str, int]) -> None:
        """When, which file, its size from then on."""
        self.now, self.changes = 0.0, changes

    def look(self) -> Sequence[LandedFile]:
        sizes = {name: size for when, name, size in self.changes if when <= self.now}
        return [
            LandedFile(path=f"p/landing/{name}", partition=None, name=name, stat=(1, size))
            for name, size in sizes.items()
        ]

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def looked(world: World, seen: dict[str, Sequence[int]]) -> set[str]:
    files, settled = looked_for(world.look, seen, clock=world.clock, sleep=world.sleep)
    seen.update(remembered(files, seen, settled))
    return set(settled)


def test_a_file_that_lands_during_a_tick_is_taken_a_second_after_its_last_byte() -> None:
    world = World((0.5, "a.csv", 10), (1.3, "a.csv", 20))
    assert looked(world, {}) == {"p/a.csv"}
    assert 1.3 + SETTLE <= world.now < 1.3 + SETTLE + 0.5


def test_a_file_that_is_still_written_waits_and_is_taken_by_the_next_tick() -> None:
    world = World(*((0.5 * number, "a.csv", number) for number in range(1, 12)))
    seen: dict[str, Sequence[int]] = {}
    assert looked(world, seen) == set()
    assert PATIENCE <= world.now < PATIENCE + 0.5
    world.now = 9.0
    assert looked(world, seen) == {"p/a.csv"}


def test_what_was_taken_is_not_taken_again_and_what_came_with_it_comes_next() -> None:
    world, seen = World((0.0, "a.csv", 10), (0.5, "b.csv", 10)), dict[str, Sequence[int]]()
    assert looked(world, seen) == {"p/a.csv"}
    assert looked(world, seen) == {"p/b.csv"}
    begun = world.now
    assert looked(world, seen) == set()
    assert world.now >= begun + PATIENCE
    world.changes += ((world.now + 1, "a.csv", 11),)
    assert looked(world, seen) == {"p/a.csv"}
