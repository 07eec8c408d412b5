"""Point clouds from and to NumPy: what s3k_ros uses of upstream's module."""

import array
import sys

import numpy as np
from numpy.lib.recfunctions import unstructured_to_structured
from sensor_msgs.msg import PointCloud2, PointField

TYPES = {
    PointField.INT8: np.dtype(np.int8),
    PointField.UINT8: np.dtype(np.uint8),
    PointField.INT16: np.dtype(np.int16),
    PointField.UINT16: np.dtype(np.uint16),
    PointField.INT32: np.dtype(np.int32),
    PointField.UINT32: np.dtype(np.uint32),
    PointField.FLOAT32: np.dtype(np.float32),
    PointField.FLOAT64: np.dtype(np.float64),
}


def dtype_from_fields(fields, point_step=None):
    """The structured type of one point; a field with count n becomes n, named name_0, name_1 ..."""
    names, formats, offsets = [], [], []
    for field in fields:
        element = TYPES[field.datatype]
        for index in range(field.count):
            names.append(f"{field.name}_{index}" if field.count > 1 else field.name)
            formats.append(element.str)
            offsets.append(field.offset + index * element.itemsize)
    description = {"names": names, "formats": formats, "offsets": offsets}
    if point_step is not None:
        description["itemsize"] = point_step
    return np.dtype(description)


def read_points(cloud, field_names=None, skip_nans=False):
    """A structured array with one element for each point."""
    points = np.ndarray(
        (cloud.width * cloud.height,),
        dtype_from_fields(cloud.fields, cloud.point_step),
        buffer=cloud.data,
    )
    if field_names is not None:
        points = points[list(field_names)]
    if bool(cloud.is_bigendian) != (sys.byteorder == "big"):
        points = points.byteswap()
    if skip_nans and not cloud.is_dense:
        valid = [~np.isnan(points[name]) for name in points.dtype.names]
        points = points[np.logical_and.reduce(valid)]
    return points


def create_cloud(header, fields, points, point_step=None):
    """A cloud of one row; points as a structured array, an (N, fields) array or a list of rows."""
    dtype = dtype_from_fields(fields, point_step)
    if not isinstance(points, np.ndarray):
        points = np.array(list(map(tuple, points)), dtype)
    elif points.dtype.names is None:
        points = unstructured_to_structured(points, dtype=dtype)
    assert points.dtype == dtype, "the points' type does not match the fields"
    assert points.ndim == 1, "organised clouds are left out of this stand-in"
    cloud = PointCloud2(
        header=header,
        height=1,
        width=len(points),
        is_dense=False,
        is_bigendian=sys.byteorder == "big",
        fields=fields,
        point_step=dtype.itemsize,
        row_step=dtype.itemsize * len(points),
    )
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(points).tobytes())
    cloud.data = data
    return cloud


def create_cloud_xyz32(header, points):
    """A cloud of float32 x, y, z."""
    fields = [
        PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
        for index, name in enumerate("xyz")
    ]
    return create_cloud(header, fields, points)
