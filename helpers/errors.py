"""The one kind of error that is meant for a person: a sentence that says what is wrong and what to do next."""


class CourseError(Exception):
    """Shown by the command line without a traceback, as `error: <message>`, with exit status 2."""
