"""Rewriting a detector's graph into one that is faster and finds the same.

`exact` changes no bit of the answer, `cut` leaves the last step to the head that decodes. Each is proven
on the file at hand before that file is used. Needs the package onnx (extra `models`), imported when called.
"""
