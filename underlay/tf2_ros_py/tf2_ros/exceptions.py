"""Why a transform cannot be had."""


class TransformException(Exception):
    """Root of them all."""


class LookupException(TransformException):
    """A frame that no transform ever named, or a loop."""


class ConnectivityException(TransformException):
    """Both frames are known but belong to different trees."""


class ExtrapolationException(TransformException):
    """The requested time lies outside what is stored."""


class InvalidArgumentException(TransformException):
    """A frame's name is empty or begins with a slash."""


class TimeoutException(TransformException):
    """Kept for except clauses; a timeout here ends in one of the others, as upstream."""
