"""From an XML launch file to the processes that it asks for, as upstream's launch_xml reads it.

As upstream, an included file shares its arguments with the one that includes it; only a group keeps
changes to itself, and even after that `$(dirname)` still means the folder of the last file read.
Unknown tags and attributes are errors.
"""

import atexit
import copy
import dataclasses
import os
import re
import shlex
import tempfile
import xml.etree.ElementTree as ET

import yaml

from .packages import find_executable
from .substitutions import expand, to_bool

CONDITIONS = {"if", "unless"}
TYPES = {"int": int, "float": float, "bool": to_bool, "str": str}


@dataclasses.dataclass
class Context:
    """What holds at a place in a launch file."""

    configurations: dict[str, str]
    environment: dict[str, str]
    file: str = ""
    namespace: str | None = None


@dataclasses.dataclass
class Process:
    """A process to start."""

    name: str
    command: list[str]
    environment: dict[str, str]
    output: str
    shuts_down: bool  # its end ends the launch


def read_processes(path, arguments):
    """Everything that a launch file starts, in order.

    Args:
        path: the file.
        arguments: values of launch arguments by name.

    Raises:
        ValueError, LookupError, OSError: what is wrong with the file or the arguments.
    """
    processes = []
    _run_file(path, Context(dict(arguments), dict(os.environ)), processes)
    return processes


def _run_file(path, context, processes):
    root = _root(path)
    context.file = os.path.abspath(path)
    _run_children(root, context, processes)


def _root(path):
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise ValueError(f"{path}: {error}") from error
    if root.tag != "launch":
        raise ValueError(f"{path}: the root must be <launch>, not <{root.tag}>")
    return root


def _run_children(element, context, processes):
    for child in element:
        if child.tag not in ACTIONS:
            raise ValueError(f"{context.file}: unknown tag <{child.tag}>; known: {list(ACTIONS)}")
        action, attributes, tags = ACTIONS[child.tag]
        _check(child, attributes | CONDITIONS, tags, context)
        if _condition_holds(child, context):
            action(child, context, processes)


def _check(element, attributes, tags, context):
    for found, allowed, what in (
        (set(element.attrib), attributes, "attribute"),
        ({child.tag for child in element}, tags, "nested tag"),
    ):
        if allowed is not None and found - allowed:
            unexpected = ", ".join(sorted(found - allowed))
            raise ValueError(f"{context.file}: unexpected {what} in <{element.tag}>: {unexpected}")


def _condition_holds(element, context):
    if "if" in element.attrib and "unless" in element.attrib:
        raise ValueError(f"{context.file}: <{element.tag}> has both if and unless")
    if "if" in element.attrib:
        return to_bool(expand(element.attrib["if"], context))
    return "unless" not in element.attrib or not to_bool(expand(element.attrib["unless"], context))


def _required(element, name, context):
    if name not in element.attrib:
        raise ValueError(f"{context.file}: <{element.tag}> needs the attribute {name}")
    return expand(element.attrib[name], context)


# --- actions ------------------------------------------------------------------------------------


def _arg(element, context, processes):
    name = element.attrib["name"]
    if name not in context.configurations:
        if "default" not in element.attrib:
            raise LookupError(f'Required launch argument "{name}" was not provided.')
        context.configurations[name] = expand(element.attrib["default"], context)
    choices = [choice.attrib["value"] for choice in element]
    value = context.configurations[name]
    if choices and value not in choices:
        raise ValueError(f'Argument "{name}": "{value}" is not valid; valid are {choices}')


def _let(element, context, processes):
    name = _required(element, "name", context)
    context.configurations[name] = _required(element, "value", context)


def _set_env(element, context, processes):
    name = _required(element, "name", context)
    context.environment[name] = _required(element, "value", context)


def _push_ros_namespace(element, context, processes):
    pushed = _required(element, "namespace", context)
    context.namespace = _join_namespace(context.namespace, pushed)


def _group(element, context, processes):
    scoped = to_bool(expand(element.attrib.get("scoped", "true"), context))
    inner = copy.deepcopy(context) if scoped else context
    _run_children(element, inner, processes)
    context.file = inner.file


def _include(element, context, processes):
    for argument in element:
        _check(argument, {"name", "value"}, set(), context)
        name = _required(argument, "name", context)
        context.configurations[name] = _required(argument, "value", context)
    _run_file(_required(element, "file", context), context, processes)


def _node(element, context, processes):
    executable = _required(element, "exec", context)
    path = executable
    if "pkg" in element.attrib:
        path = find_executable(_required(element, "pkg", context), executable)
    get = {key: expand(value, context) for key, value in element.attrib.items() if key != "args"}
    environment = dict(context.environment)
    for variable in element.findall("env"):
        environment[_required(variable, "name", context)] = _required(variable, "value", context)
    on_exit = get.get("on_exit")
    if on_exit not in (None, "shutdown"):
        raise ValueError(f'{context.file}: on_exit can only be "shutdown", not "{on_exit}"')
    processes.append(
        Process(
            name=get.get("exec_name", os.path.basename(path)),
            command=[
                path,
                *_words(element.attrib.get("args", ""), context),
                *_ros_arguments(element, get, context),
            ],
            environment=environment,
            output=get.get("output", "log"),
            shuts_down=on_exit == "shutdown",
        )
    )


def _ros_arguments(element, get, context):
    arguments = ["--ros-args", *_words(element.attrib.get("ros_args", ""), context)]
    if "name" in get:
        arguments += ["-r", f"__node:={get['name']}"]
    namespace = _join_namespace(context.namespace, get.get("namespace"))
    if namespace is not None:
        namespace = "/" + namespace.removeprefix("/")
        arguments += ["-r", f"__ns:={namespace}"]
    fully_named = "name" in get and namespace is not None
    target = f"{namespace.rstrip('/')}/{get['name']}" if fully_named else "/**"
    for parameter in element.findall("param"):
        arguments += ["--params-file", _parameter_file(parameter, target, context)]
    for remap in element.findall("remap"):
        _check(remap, {"from", "to"}, set(), context)
        source, destination = (_required(remap, key, context) for key in ("from", "to"))
        arguments += ["-r", f"{source}:={destination}"]
    return arguments


def _parameter_file(parameter, target, context):
    """The given file, or a new one that holds the given name and value."""
    _check(parameter, {"name", "value", "type", "from"}, set(), context)
    if "from" in parameter.attrib:
        path = _required(parameter, "from", context)
        if not os.path.isfile(path):
            raise LookupError(f"{context.file}: parameter file {path} does not exist")
        return path
    text = _required(parameter, "value", context)
    kind = parameter.attrib.get("type")
    value = yaml.safe_load(text) if kind is None else TYPES[kind](text)
    if value is None:
        value = text
    if not isinstance(value, (bool, int, float, str, list)):
        raise ValueError(f"{context.file}: {text!r} is no value for a parameter")
    content = {target: {"ros__parameters": {_required(parameter, "name", context): value}}}
    with tempfile.NamedTemporaryFile("w", prefix="launch_params_", delete=False) as file:
        yaml.safe_dump(content, file)
    atexit.register(os.unlink, file.name)
    return file.name


def _words(text, context):
    """Splits like a shell, but never inside what a substitution inserts."""
    inserted = []

    def keep(match):
        inserted.append(expand(match[0], context))
        return f"\0{len(inserted) - 1}\0"

    nested = r"\$\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
    words = shlex.split(re.sub(nested, keep, text))
    return [re.sub("\0(\\d+)\0", lambda match: inserted[int(match[1])], word) for word in words]


def _join_namespace(base, namespace):
    if namespace is None:
        return base
    if base and not namespace.startswith("/"):
        namespace = f"{base.rstrip('/')}/{namespace}"
    return namespace if namespace == "/" else namespace.rstrip("/")


# Tag: function, attributes, nested tags (None: whatever is allowed at the top).
ACTIONS = {
    "arg": (_arg, {"name", "default", "description"}, {"choice"}),
    "let": (_let, {"name", "value"}, set()),
    "set_env": (_set_env, {"name", "value"}, set()),
    "push_ros_namespace": (_push_ros_namespace, {"namespace"}, set()),
    "group": (_group, {"scoped"}, None),
    "include": (_include, {"file"}, {"arg"}),
    "node": (
        _node,
        {"pkg", "exec", "name", "namespace", "output", "args", "ros_args", "exec_name", "on_exit"},
        {"param", "remap", "env"},
    ),
}


# --- arguments ----------------------------------------------------------------------------------


def describe_arguments(path):
    """The text of `--show-args`; as upstream without the arguments of included files."""
    lines = ["Arguments (pass arguments as '<name>:=<value>'):"]
    arguments = _root(path).findall("arg")
    for element in arguments:
        lines += ["", f"    '{element.attrib['name']}':"]
        lines.append("        " + element.attrib.get("description", "no description given"))
        if "default" in element.attrib:
            lines.append(f"        (default: {element.attrib['default']!r})")
    return "\n".join(lines if arguments else [*lines, "", "  No arguments."])
