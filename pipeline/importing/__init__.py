"""Other datasets as shards: COCO, Pascal VOC, YOLO, LabelMe, and images with class-id maps.

    read      coco.py voc.py yolo.py labelme.py masks.py    annotation files -> Dataset
    mend      mending.py, drawing.py, turning.py            Annotation -> an instance, or a reason
    pack      packing.py                                    Item -> the members of one sample
    write     writing.py                                    members -> shards and their card

What is wrong is a `Finding` with a slug of `findings.py`: nothing is left out or changed without
one. `report.py` counts them and holds that annotations in = kept + repaired + dropped.
"""
