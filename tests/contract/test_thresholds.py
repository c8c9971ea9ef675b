"""Who states which threshold."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.contract.thresholds import ThresholdPolicy, in_force, origins

LAYER = st.fixed_dictionaries(
    {},
    optional={
        "confidence": st.sampled_from([0.2, 0.3]),
        "iou": st.sampled_from([0.5, 0.6]),
        "max_objects": st.sampled_from([10, 20]),
        "min_side_px": st.sampled_from([5.0, 6.0]),
        "classes": st.dictionaries(st.sampled_from("ab"), st.sampled_from([0.7, "off"])),
    },
)


@given(layers=st.lists(LAYER, max_size=3))
def test_the_layer_that_is_named_states_what_is_in_force(layers: list[dict[str, Any]]) -> None:
    named = [(f"layer {index}", ThresholdPolicy.model_validate(each)) for index, each in enumerate(layers)]
    thresholds = in_force(stated for _, stated in named)
    stated = dict(named)
    found = origins(named)
    assert {part for part in found if part.startswith("classes.")} == {
        f"classes.{name}" for name in thresholds.by_class
    }
    for part, where in found.items():
        if where == "default":
            assert not any(part in layer for layer in layers) or part.startswith("classes.")
        elif part.startswith("classes."):
            name = part.removeprefix("classes.")
            least = stated[where].classes[name]
            assert thresholds.by_class[name] == (1.01 if least == "off" else least)
        else:
            assert getattr(stated[where], part) == getattr(thresholds, part)
