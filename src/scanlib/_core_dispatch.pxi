# _core_dispatch.pxi: the fast path of a call; included by _core.pyx.

cdef union Scalar:
    int64_t integer
    double float64
    float float32
    uint8_t byte


cdef bint store_integer(int64_t value, DType dtype, Scalar* scalar) noexcept:
    """Stores an int as `dtype` if that is exact."""
    cdef int64_t bits
    if dtype == DType.float64:
        scalar.float64 = <double>value
        return -9007199254740992 <= value <= 9007199254740992  # 2^53
    if dtype == DType.float32:
        scalar.float32 = <float>value
        return -16777216 <= value <= 16777216  # 2^24
    scalar.integer = value  # little-endian: the low bytes are the value
    if dtype == DType.int64:
        return True
    if dtype == DType.uint64:
        return value >= 0
    bits = 8 * <int64_t>size_of(dtype)
    if dtype == DType.int8 or dtype == DType.int16 or dtype == DType.int32:
        return -(<int64_t>1 << (bits - 1)) <= value < (<int64_t>1 << (bits - 1))
    if dtype == DType.boolean:
        return False
    return 0 <= value < (<int64_t>1 << bits)


cdef bint store_scalar(object value, DType dtype, Scalar* scalar) except -1:
    """Stores a Python or NumPy scalar as `dtype` if that is safe beyond doubt; False asks for the slow path."""
    cdef int overflow = 0
    cdef int64_t integer
    if PyFloat_CheckExact(value):
        if dtype == DType.float64:
            scalar.float64 = PyFloat_AS_DOUBLE(value)
            return True
        if dtype == DType.float32:
            scalar.float32 = <float>PyFloat_AS_DOUBLE(value)
            return True
        return False
    if PyLong_CheckExact(value):
        integer = PyLong_AsLongLongAndOverflow(value, &overflow)
        return overflow == 0 and store_integer(integer, dtype, scalar)
    if PyBool_Check(value):
        if dtype == DType.boolean:
            scalar.byte = value is True
            return True
        return store_integer(value is True, dtype, scalar)
    if scalar_typenum(value) == typenums[<int>dtype]:
        PyArray_ScalarAsCtype(value, scalar)
        return True
    return False


@cython.final
cdef class Dispatcher:
    """The fast path of a call; see _core.pyi."""

    cdef object specialise
    cdef object convert
    cdef vector[DType] dtypes
    cdef vector[int] ndims
    cdef vector[uint8_t] dynamic
    cdef vector[size_t] base_inputs
    cdef vector[size_t] base_axes
    cdef vector[size_t] base_positions
    cdef size_t dims_count
    cdef bint unpack
    cdef dict known
    cdef bytes last_key
    cdef Executable last

    def __init__(self, specialise, convert, dtypes, ndims, dynamic, unpack=False, bases=()):
        cdef object mask
        self.specialise = specialise
        self.convert = convert
        self.unpack = unpack
        self.known = {}
        self.last_key = None
        self.last = None
        if not len(dtypes) == len(ndims) == len(dynamic):
            raise internal_error("a dispatcher needs one dtype, ndim and mask per input")
        for dtype, ndim, mask in zip(dtypes, ndims, dynamic):
            if len(mask) != ndim:
                raise internal_error("a dispatcher needs one dynamic flag per axis")
            self.dtypes.push_back(read_dtype(dtype))
            self.ndims.push_back(ndim)
            for flag in mask:
                self.dynamic.push_back(<bint>flag)
        self.dims_count = self.dynamic.size()
        for i, axis in bases:
            self.base_inputs.push_back(i)
            self.base_axes.push_back(axis)
            self.base_positions.push_back(sum(ndims[:i]) + axis)

    @property
    def specialisations(self):
        return [(self.signature(key), executable) for key, executable in self.known.items()]

    def clear(self):
        self.known = {}
        self.last_key = None
        self.last = None

    def __call__(self, *args):
        return self.call(args)

    cdef object call(self, tuple args):
        cdef size_t count = self.dtypes.size()
        cdef size_t i
        cdef InputView[INLINE_INPUTS] few_views
        cdef Scalar[INLINE_INPUTS] few_scalars
        cdef vector[InputView] many_views
        cdef vector[Scalar] many_scalars
        cdef InputView* views = few_views
        cdef Scalar* scalars = few_scalars
        cdef list kept = None
        cdef object value
        if <size_t>len(args) != count:
            raise internal_error(f"{len(args)} arguments, the dispatcher takes {count}")
        if count > INLINE_INPUTS:
            many_views.resize(count)
            many_scalars.resize(count)
            views = many_views.data()
            scalars = many_scalars.data()
        for i in range(count):
            value = args[i]
            if self.ndims[i] == 0 and store_scalar(value, self.dtypes[i], &scalars[i]):
                views[i].data = &scalars[i]
                views[i].dims = NULL
                continue
            value = self.as_array(i, value)
            if value is not args[i]:
                if kept is None:
                    kept = []
                kept.append(value)
            views[i].data = cnp.PyArray_DATA(value)
            views[i].dims = <const int64_t*>cnp.PyArray_DIMS(value)
        return self.lookup(views).execute(views, self.unpack)

    cdef object as_array(self, size_t i, object value):
        if not self.fits(i, value):
            value = self.convert(i, value)
            check_array(value, self.dtypes[i], self.ndims[i], f"converted input {i}")
        return value if is_plain(value) else plain(value)

    cdef bint fits(self, size_t i, object value) noexcept:
        return (cnp.PyArray_Check(value)
                and canonical_typenum(cnp.PyArray_TYPE(value)) == typenums[<int>self.dtypes[i]]
                and cnp.PyArray_NDIM(value) == self.ndims[i])

    cdef Executable lookup(self, const InputView* views):
        """The executable for these dims: small dims that are not flagged dynamic are part of the key."""
        cdef int64_t[INLINE_DIMS] few
        cdef vector[int64_t] many
        cdef int64_t* key = few
        cdef size_t position = 0
        cdef size_t i
        cdef int axis
        cdef int64_t dim
        if self.dims_count > INLINE_DIMS:
            many.resize(self.dims_count)
            key = many.data()
        for i in range(self.dtypes.size()):
            for axis in range(self.ndims[i]):
                dim = views[i].dims[axis]
                key[position] = -1 if self.dynamic[position] or dim > exact_dim_limit else dim
                position += 1
        if self.base_inputs.size() > 0:
            self.tell_multiples(views, key)
        cdef size_t size = self.dims_count * sizeof(int64_t)
        if self.last is not None and memcmp(PyBytes_AS_STRING(self.last_key), key, size) == 0:
            return self.last
        try:
            return self.find(PyBytes_FromStringAndSize(<char*>key, size))
        except (ValueError, IndexError):
            # Lengths that do not fit together: with all of them known, the message tells them.
            self.specialise(self.lengths(views))
            raise

    cdef void tell_multiples(self, const InputView* views, int64_t* key) noexcept:
        """Large dims that are multiples of a base become part of the key; see `signature` in lengths.py."""
        cdef size_t position = 0
        cdef size_t i
        cdef size_t b
        cdef int axis
        cdef int64_t base
        cdef int64_t dim
        for i in range(self.dtypes.size()):
            for axis in range(self.ndims[i]):
                dim = views[i].dims[axis]
                if key[position] < 0 and not self.dynamic[position]:
                    for b in range(self.base_inputs.size()):
                        if self.base_positions[b] == position:
                            break
                        base = views[self.base_inputs[b]].dims[self.base_axes[b]]
                        if (base > exact_dim_limit and not self.dynamic[self.base_positions[b]]
                                and dim % base == 0 and dim // base <= largest_multiple):
                            key[position] = -1 - (<int64_t>b * largest_multiple + dim // base)
                            break
                position += 1

    cdef Executable find(self, bytes key):
        cdef Executable executable = self.known.get(key)
        if executable is None:
            executable = self.specialise(self.signature(key))
            self.known[key] = executable
        self.last_key = key
        self.last = executable
        return executable

    cdef tuple lengths(self, const InputView* views):
        """All dims per input."""
        return tuple([tuple([views[i].dims[axis] for axis in range(self.ndims[i])]) for i in range(self.ndims.size())])

    cdef tuple signature(self, bytes key):
        """The key as dims per input, -1 for a dim that stays a run-time value."""
        cdef const int64_t* dims = <const int64_t*>PyBytes_AS_STRING(key)
        cdef size_t position = 0
        cdef list rows = []
        for i in range(self.ndims.size()):
            rows.append(tuple([dims[position + axis] for axis in range(self.ndims[i])]))
            position += self.ndims[i]
        return tuple(rows)


cdef class Caller:
    """What is called as f(…); see _core.pyi."""

    cdef public Dispatcher direct

    def __call__(self, *args, **kwargs):
        if self.direct is not None and not kwargs and <size_t>len(args) == self.direct.dtypes.size():
            return self.direct.call(args)
        return self.call(args, kwargs)
