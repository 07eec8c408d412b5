"""The error tree of s3k_ros, split by what the caller can do about it.

Every message names what is wrong, the value that was found and what would be right.
"""


class S3kError(Exception):
    """Root of all errors that s3k_ros raises on purpose."""


class ConfigurationError(S3kError):
    """A parameter, file or argument is wrong: the user mends it and starts again."""


class DeviceUnavailableError(S3kError):
    """A camera, robot, gripper or accelerator does not answer: wait, reconnect or replace it."""


class DataError(S3kError):
    """One input (a frame, a set, a sample) is unusable: the caller drops it and goes on."""


class UnsafeMotionError(S3kError):
    """A motion is refused because it would break a limit: the caller plans another or gives up."""
