"""Forms of pages: types and choices alone, for the rules are the services'; their refusals come back beside the fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django import forms

from portal.common.errors import PortalError, Reason

T = TypeVar("T")

CLASSES = {
    forms.CheckboxInput: "form-check-input",
    forms.Select: "form-select",
    forms.RadioSelect: "form-check-input",
    forms.ClearableFileInput: "form-control",
}


class Ticks(forms.CheckboxSelectMultiple):
    """Boxes to tick, under headings; ``shows_codes``: each with its value, which people meet elsewhere."""

    in_groups = True

    def __init__(self, *, shows_codes: bool = False) -> None:
        super().__init__()
        self.shows_codes = shows_codes


class GreySelect(forms.Select):
    """Choices of which some cannot be chosen now: the field's hint says why."""

    greyed: frozenset[str] = frozenset()

    def create_option(self, name: str, value: Any, *args: Any, **named: Any) -> dict[str, Any]:
        """As Django does."""
        option = super().create_option(name, value, *args, **named)
        if str(value) in self.greyed:
            option["attrs"]["disabled"] = True
        return option


class PageForm(forms.Form):
    """A form as ``partials/_field.html`` shows it: Bootstrap's classes, and each field told of its hint and errors."""

    def __init__(self, data: Any = None, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial, auto_id="%s", label_suffix="")
        for name, field in self.fields.items():
            kind = next((css for widget, css in CLASSES.items() if isinstance(field.widget, widget)), "form-control")
            field.widget.attrs.setdefault("class", kind)
            field.widget.attrs.setdefault("autocomplete", "off")
            if field.help_text:
                field.widget.attrs["aria-describedby"] = f"{name}-hint"

    def add_reasons(self, reasons: Sequence[Reason]) -> bool:
        """Put each reason beside the field it is about; True when there was such a field."""
        placed = False
        for reason in reasons:
            field = reason.field.rpartition(".")[2]
            if field in self.fields:
                self.add_error(field, str(reason.text))
                placed = True
        return placed

    def tried(self, work: Callable[[], T]) -> T | None:
        """What came of the work, when the form is good; None when it is not, or a refusal stands beside a field now.

        A refusal that is about no field of this form is the caller's to meet.
        """
        if not self.is_valid():
            return None
        try:
            return work()
        except PortalError as error:
            if not self.add_reasons(error.reasons):
                raise
            return None

    def add_error(self, field: Any, error: Any) -> None:
        """As Django does, and the input is marked, and tells where its error stands."""
        super().add_error(field, error)
        if field in self.fields:
            attrs = self.fields[field].widget.attrs
            described = [part for part in (attrs.get("aria-describedby", ""), f"{field}-error") if part]
            attrs |= {"aria-invalid": "true", "aria-describedby": " ".join(dict.fromkeys(described))}
            if "is-invalid" not in attrs["class"]:
                attrs["class"] += " is-invalid"
