# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# distutils: language = c++
"""Marshalling between Python and the C++ core: plans in, arrays in, arrays out.  No algorithm lives here."""

cimport cython
cimport numpy as cnp
from cpython.bool cimport PyBool_Check
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.string cimport memcmp, memcpy
from libcpp cimport bool
from libcpp.string cimport string
from libcpp.vector cimport vector

from scanlib.errors import InternalError
from scanlib.plan import Allocate, Branch, Call, Library, Loop, Release

cnp.import_array()

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1

cdef extern from "numpy/arrayobject.h":
    void PyArray_ScalarAsCtype(object scalar, void* value)

cdef extern from *:
    """
    // The type number of a NumPy scalar, -1 for any other object.
    static int scanlib_scalar_typenum(PyObject* value) {
      if (!PyArray_IsScalar(value, Number) && !PyArray_IsScalar(value, Bool)) return -1;
      PyArray_Descr* descr = PyArray_DescrFromScalar(value);
      if (descr == NULL) { PyErr_Clear(); return -1; }
      const int number = descr->type_num;
      Py_DECREF(descr);
      return number;
    }
    """
    int raw_scalar_typenum "scanlib_scalar_typenum"(object value)

cdef enum:
    INLINE_INPUTS = 24
    INLINE_DIMS = 64

EXACT_DIM_LIMIT = 16
"""The largest dim that a specialisation treats as a compile-time constant."""
LARGEST_MULTIPLE = 8
"""Up to this factor a specialisation tells that a dim is a multiple of another one."""
PACKED_PANEL_BYTES = packed_panel_bytes

cdef int64_t exact_dim_limit = EXACT_DIM_LIMIT
cdef int64_t largest_multiple = LARGEST_MULTIPLE


# --- dtypes -----------------------------------------------------------------------------------------------------

cdef int[11] typenums = [
    cnp.NPY_BOOL, cnp.NPY_INT8, cnp.NPY_INT16, cnp.NPY_INT32, cnp.NPY_INT64, cnp.NPY_UINT8, cnp.NPY_UINT16,
    cnp.NPY_UINT32, cnp.NPY_UINT64, cnp.NPY_FLOAT32, cnp.NPY_FLOAT64,
]


cdef inline int canonical_typenum(int typenum) noexcept:
    """One number per dtype: C's long and long long are the same int64."""
    if typenum == cnp.NPY_LONGLONG or typenum == cnp.NPY_LONG:
        return cnp.NPY_INT64 if sizeof(long) == 8 or typenum == cnp.NPY_LONGLONG else cnp.NPY_INT32
    if typenum == cnp.NPY_ULONGLONG or typenum == cnp.NPY_ULONG:
        return cnp.NPY_UINT64 if sizeof(long) == 8 or typenum == cnp.NPY_ULONGLONG else cnp.NPY_UINT32
    return typenum


cdef inline int scalar_typenum(object value) noexcept:
    return canonical_typenum(raw_scalar_typenum(value))


cdef DType read_dtype(object name) except *:
    return dtype_from_name((<str>str(name)).encode())


# --- errors -----------------------------------------------------------------------------------------------------

cdef object internal_error(str what):
    return InternalError(what)


cdef int check_array(object value, DType dtype, int ndim, str what) except -1:
    if not cnp.PyArray_Check(value):
        raise internal_error(f"{what} is no array but {type(value).__name__}")
    if canonical_typenum(cnp.PyArray_TYPE(value)) != typenums[<int>dtype]:
        raise internal_error(f"{what} has dtype {value.dtype}, the plan says {dtype_name(dtype).decode()}")
    if ndim >= 0 and cnp.PyArray_NDIM(value) != ndim:
        raise internal_error(f"{what} has {value.ndim} dims, the plan says {ndim}")
    return 0


include "_core_plan.pxi"


# --- signals ---------------------------------------------------------------------------------------------------

cdef struct Pending:
    PyObject* error


cdef bool poll_signals(void* context) noexcept with gil:
    """The interrupt hook: runs Python's signal handlers; an exception of theirs ends the call."""
    try:
        PyErr_CheckSignals()
    except BaseException as error:
        Py_INCREF(error)
        (<Pending*>context).error = <PyObject*>error
        return True
    return False


# --- arrays -----------------------------------------------------------------------------------------------------

@cython.final
@cython.freelist(16)
cdef class Memory:
    """Owns one block of the core's memory; the base of arrays returned without a copy."""

    cdef void* memory

    def __dealloc__(self):
        release(self.memory)


cdef inline bint is_plain(object array) noexcept:
    return cnp.PyArray_IS_C_CONTIGUOUS(array) and cnp.PyArray_ISALIGNED(array) and cnp.PyArray_ISNOTSWAPPED(array)


cdef object plain(object array):
    """A C-contiguous, aligned array in native byte order with the same values."""
    cdef object copy = cnp.PyArray_FROM_OF(array, cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_ALIGNED
                                           | cnp.NPY_ARRAY_NOTSWAPPED)
    return copy


cdef object make_output(Result& result, size_t index):
    cdef OutputView view = result.output(index)
    cdef cnp.npy_intp* dims = <cnp.npy_intp*>view.dims
    cdef int typenum = typenums[<int>view.dtype]
    cdef void* memory = result.take(index)
    cdef object array
    cdef Memory owner
    if memory is NULL:
        array = cnp.PyArray_SimpleNew(view.ndim, dims, typenum)
        if view.bytes > 0:
            memcpy(cnp.PyArray_DATA(array), view.data, view.bytes)
        return array
    owner = Memory.__new__(Memory)
    owner.memory = memory
    array = cnp.PyArray_SimpleNewFromData(view.ndim, dims, typenum, <void*>view.data)
    cnp.set_array_base(array, owner)
    return array


# --- executables ------------------------------------------------------------------------------------------------

@cython.final
cdef class Executable:
    """A plan bound to its compiled kernels; see _core.pyi."""

    cdef CExecutable* executable
    cdef readonly object plan
    cdef readonly object owner
    cdef object on_failure
    cdef vector[DType] dtypes
    cdef vector[int] ndims
    cdef size_t output_count
    cdef readonly int64_t last_peak_bytes

    def __cinit__(self):
        self.executable = NULL

    def __init__(self, plan, addresses, on_failure=None, owner=None):
        cdef vector[KernelFunction] kernels
        if self.executable is not NULL:
            raise internal_error("an executable is initialised twice")
        for address in addresses:
            kernels.push_back(<KernelFunction><uintptr_t>address)
        for row in plan.inputs:
            self.dtypes.push_back(read_dtype(row.dtype))
            self.ndims.push_back(row.ndim)
        self.output_count = len(plan.outputs)
        self.plan = plan
        self.owner = owner
        self.on_failure = on_failure
        try:
            self.executable = new CExecutable(read_plan(plan), kernels)
        except RuntimeError as error:
            raise InternalError(str(error)) from None

    def __dealloc__(self):
        del self.executable

    def __call__(self, inputs):
        return self.run(inputs)

    def run(self, inputs):
        cdef size_t count = self.dtypes.size()
        cdef size_t i
        cdef vector[InputView] views
        cdef list arrays = list(inputs)
        cdef object array
        if <size_t>len(arrays) != count:
            raise internal_error(f"{len(arrays)} inputs, the plan says {count}")
        views.resize(count)
        for i in range(count):
            array = arrays[i]
            check_array(array, self.dtypes[i], self.ndims[i], f"input {i}")
            if not is_plain(array):
                array = plain(array)
                arrays[i] = array
            views[i].data = cnp.PyArray_DATA(array)
            views[i].dims = <const int64_t*>cnp.PyArray_DIMS(array)
        return self.execute(views.data(), False)

    def start_profile(self):
        self.executable.start_profile()

    def profile(self):
        cdef const CProfile* made = self.executable.profile()
        cdef const LoopCounters* row
        cdef size_t i
        cdef list loops = []
        if made is NULL:
            return None
        for i in range(made.loops.size()):
            row = &made.loops[i]
            loops.append((row.calls.load(), row.steps.load(), row.blocks.load(), row.total_ns.load(),
                          row.prologue_ns.load(), row.recurrence_ns.load(), row.epilogue_ns.load(), row.bytes.load()))
        return made.calls.load(), made.total_ns.load(), loops

    cdef object execute(self, const InputView* views, bint unpack):
        cdef Result result
        cdef InterruptHook hook
        cdef Pending pending
        cdef size_t i
        pending.error = NULL
        hook.function = poll_signals
        hook.context = &pending
        with nogil:
            result = self.executable.run(views, hook)
        if result.failure().kind != FailureKind.none:
            self.raise_failure(result.failure(), pending.error)
        self.last_peak_bytes = result.peak_bytes()
        if unpack:
            return make_output(result, 0)
        return [make_output(result, i) for i in range(self.output_count)]

    cdef int raise_failure(self, const Failure& failure, PyObject* pending) except -1:
        if pending is not NULL:
            error = <object>pending
            Py_DECREF(error)
            raise error
        cdef str kind = name_of(failure.kind).decode()
        cdef list path = [(failure.path[i].loop.decode(), failure.path[i].step) for i in range(failure.path.size())]
        cdef tuple values = (failure.values[0], failure.values[1], failure.values[2])
        cdef str instruction = failure.instruction.decode()
        if self.on_failure is not None:
            raise self.on_failure(kind, failure.code, values, path, instruction)
        raise RuntimeError(f"{kind} failure {failure.code} {values} in {instruction!r} at {path}")


include "_core_dispatch.pxi"


# --- threads, memory, rings, library ----------------------------------------------------------------------------

def get_threads():
    return c_get_threads()


def set_threads(int count):
    c_set_threads(count)


def allocated_bytes():
    return c_allocated_bytes()


def peak_bytes():
    return c_peak_bytes()


def reset_peak_bytes():
    c_reset_peak_bytes()


def allocation_count():
    return c_allocation_count()


def ring_slots(int64_t keep, int64_t depth, bint in_place=False):
    if keep < 0 or depth < 0:
        raise internal_error("ring_slots takes no negative numbers")
    return c_ring_slots(keep, depth, in_place)


def lane_parts(int64_t lanes, int64_t work, str grain="lanes"):
    cdef int64_t size = row_grain if grain == "rows" else lane_grain if grain == "lanes" else 1
    return c_lane_parts(lanes, size, work, c_get_threads())


def library_kernels():
    cdef size_t i
    return [c_library_kernels()[i].name.decode() for i in range(c_library_kernels().size())]


def library_symbols():
    cdef size_t i
    return {c_library_symbols()[i].name.decode(): <uintptr_t>c_library_symbols()[i].address
            for i in range(c_library_symbols().size())}


def library_statuses():
    return {name: code for code, name in enumerate(
        [status_name(<Status><int>i).decode() for i in range(8)])}


def instruction_set():
    return c_instruction_set().decode()


def run_library(str name, inputs, outputs, parameters=()):
    cdef const LibraryKernel* kernel = find_library_kernel(name.encode())
    if kernel is NULL:
        raise internal_error(f"there is no library kernel {name!r}")
    cdef list arrays = [*inputs, *outputs]
    cdef vector[int64_t] numbers = parameters
    if not takes(kernel[0], <size_t>len(arrays)) or numbers.size() != kernel.parameters:
        raise internal_error(f"{name} takes {kernel.operands} operands and {kernel.parameters} parameters")
    cdef vector[Tensor] tensors
    cdef vector[vector[int64_t]] dims
    cdef vector[vector[int64_t]] strides
    cdef Tensor tensor
    for array in arrays:
        dims.push_back(array.shape)
        strides.push_back([stride // array.itemsize for stride in array.strides])
    for i, array in enumerate(arrays):
        tensor.data = cnp.PyArray_DATA(array)
        tensor.dtype = read_dtype(array.dtype)
        tensor.ndim = array.ndim
        tensor.dims = dims[i].data()
        tensor.strides = strides[i].data()
        tensors.push_back(tensor)
    cdef Status status
    with nogil:
        status = kernel.function(tensors.data(), tensors.size(), numbers.data())
    return status_name(status).decode()
