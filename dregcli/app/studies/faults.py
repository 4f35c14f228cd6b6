"""The faults of many combinations of options: each is reported once, with the names of those that have it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dregcli.errors import Fault
from dregcli.specs.resolve import flag
from dregcli.wording import some_of

PAIR: Final = "pair"
"""The column of objective and estimator together."""

_MOST: Final = 6
"""Most names that are shown for one fault."""


@dataclass
class Faults:
    """Faults of combinations.

    Attributes:
        names: of each combination the values in which combinations differ, as texts by the name of the option.
        common: faults that belong to no single combination.
    """

    names: Sequence[Mapping[str, str]]
    common: Sequence[Fault]
    _by_fault: dict[Fault, list[int]] = field(default_factory=dict[Fault, list[int]])

    def add(self, number: int, faults: Sequence[Fault]) -> None:
        """Add the faults of a combination, by its position."""
        for fault in dict.fromkeys(faults):
            self._by_fault.setdefault(fault, []).append(number)

    def reported(self) -> list[Fault]:
        """Return all faults; a fault of only some combinations begins with their names."""
        of_all = [fault for fault, has_it in self._by_fault.items() if len(has_it) == len(self.names)]
        of_some = [
            self._named(fault, has_it)
            for fault, has_it in self._by_fault.items()
            if fault not in of_all and fault not in self.common
        ]
        return [*dict.fromkeys([*self.common, *of_all]), *of_some]

    def _named(self, fault: Fault, has_it: Sequence[int]) -> Fault:
        among = {name: list(dict.fromkeys(self.names[i][name] for i in has_it)) for name in self.names[0]}
        # An option is named only if the fault does not have all of its values.
        deciding = {
            name: texts for name, texts in among.items() if len(texts) < len({each[name] for each in self.names})
        }
        if self._fitting(deciding) != list(has_it):
            whole = [" with ".join(_words(name, [text]) for name, text in self.names[i].items()) for i in has_it]
            return Fault(f"{some_of(whole, _MOST)}: {fault.field}", fault.message)
        for name in reversed(list(deciding)):
            fewer = {each: texts for each, texts in deciding.items() if each != name}
            if self._fitting(fewer) == list(has_it):
                deciding = fewer
        if [flag(name) for name in deciding] == [fault.field]:
            return fault  # its message has the value
        who = " with ".join(_words(name, texts) for name, texts in deciding.items())
        return Fault(f"{who}: {fault.field}", fault.message)

    def _fitting(self, deciding: Mapping[str, Sequence[str]]) -> list[int]:
        """Return the combinations that have one of some values of each of some options."""
        return [
            i for i, of_one in enumerate(self.names) if all(of_one[name] in texts for name, texts in deciding.items())
        ]


def _words(name: str, texts: Sequence[str]) -> str:
    return some_of([text if name == PAIR else f"{flag(name)}={text}" for text in texts], _MOST)
