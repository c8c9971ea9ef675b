"""The names of COCO's classes by their ids in its annotations: 80 names, 1 to 90 with gaps.

Source: `categories` of COCO's `instances_val2017.json`.
"""

from typing import Final

_NAMES: Final = (
    "person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant - stop_sign "
    "parking_meter bench bird cat dog horse sheep cow elephant bear zebra giraffe - backpack umbrella - - "
    "handbag tie suitcase frisbee skis snowboard sports_ball kite baseball_bat baseball_glove skateboard "
    "surfboard tennis_racket bottle - wine_glass cup fork knife spoon bowl banana apple sandwich orange "
    "broccoli carrot hot_dog pizza donut cake chair couch potted_plant bed - dining_table - - toilet - tv "
    "laptop mouse remote keyboard cell_phone microwave oven toaster sink refrigerator - book clock vase "
    "scissors teddy_bear hair_drier toothbrush"
)

COCO_SLOTS: Final = 91
"""How many classes a model has that gives each of COCO's ids its own place, 0 and the gaps among them."""

COCO_NAMES: Final = {
    class_id: name.replace("_", " ") for class_id, name in enumerate(_NAMES.split(), start=1) if name != "-"
}
