"""The exceptions of the real module: no root of their own but Exception."""


class Fail(Exception):  # noqa: N818 - its name in the library
    pass


class InvalidArgument(Exception):  # noqa: N818 - its name in the library
    pass


class InvalidProtobuf(Exception):  # noqa: N818 - its name in the library
    pass


class RuntimeException(Exception):  # noqa: N818 - its name in the library
    pass


class EPFail(Exception):  # noqa: N818 - its name in the library
    pass
