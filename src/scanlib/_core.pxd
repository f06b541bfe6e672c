# cython: language_level=3
"""The public headers of the C++ core, as _core.pyx sees them."""

from libc.stdint cimport int64_t
from libcpp cimport bool
from libcpp.string cimport string
from libcpp.vector cimport vector


cdef extern from "scanlib/error.hpp" namespace "scanlib" nogil:
    cdef enum class FailureKind:
        none
        interrupted

    cdef enum class Status:
        ok

    cdef const char* name_of(FailureKind kind)
    cdef const char* status_name "scanlib::name_of"(Status status)

    cdef cppclass LoopPosition:
        string loop
        int64_t step

    cdef cppclass Failure:
        FailureKind kind
        int64_t code
        int64_t[3] values
        vector[LoopPosition] path
        string instruction


cdef extern from "scanlib/library.hpp" namespace "scanlib" nogil:
    cdef enum class DType:
        boolean, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64

    cdef size_t size_of(DType dtype)
    cdef const char* dtype_name "scanlib::name_of"(DType dtype)
    cdef DType dtype_from_name(const string& name) except +

    cdef cppclass Tensor:
        void* data
        DType dtype
        int ndim
        const int64_t* dims
        const int64_t* strides

    ctypedef Status (*LibraryFunction)(const Tensor* operands, size_t count, const int64_t* parameters) noexcept

    cdef cppclass LibraryKernel:
        const char* name
        size_t operands
        size_t parameters
        LibraryFunction function

    bint takes(const LibraryKernel& kernel, size_t count)
    const int packed_panel_bytes

    cdef cppclass LibrarySymbol:
        const char* name
        void* address

    cdef const vector[LibraryKernel]& c_library_kernels "scanlib::library_kernels"()
    cdef const LibraryKernel* find_library_kernel(const string& name)
    cdef const vector[LibrarySymbol]& c_library_symbols "scanlib::library_symbols"()
    cdef const char* c_instruction_set "scanlib::instruction_set"()


cdef extern from "scanlib/plan.hpp" namespace "scanlib" nogil:
    cdef enum class Role:
        input, constant, temporary

    cdef cppclass CBuffer "scanlib::Buffer":
        string name
        DType dtype
        Role role
        int bytes_slot
        const void* data

    cdef cppclass COperand "scanlib::Operand":
        int buffer
        int offset_slot
        vector[int] dims
        vector[int] strides
        int row_axis

    cdef cppclass CCall "scanlib::Call":
        int kernel
        string name
        int lanes_slot
        int cost_slot
        bint together

    cdef cppclass CLibrary "scanlib::Library":
        string kernel
        vector[COperand] operands
        vector[int64_t] parameters
        string name

    cdef cppclass CAllocate "scanlib::Allocate":
        int buffer

    cdef cppclass CRelease "scanlib::Release":
        int buffer

    cdef cppclass Instructions:
        pass

    cdef cppclass CStorage "scanlib::Storage":
        int buffer
        int slot_bytes_slot
        int64_t initial_slots
        int64_t depth
        int64_t keep
        bint in_place

    cdef cppclass CLoop "scanlib::Loop":
        string name
        int steps_slot
        int step_slot
        int stop_slot
        int done_slot
        int block_slot
        bool native
        int rows_slot
        int row_cost_slot
        vector[CStorage] storages
        Instructions start
        Instructions prologue
        Instructions recurrence
        Instructions epilogue
        vector[int] temporaries
        vector[int] shared_buffers
        int beside_cost_slot

    cdef cppclass CBranch "scanlib::Branch":
        COperand condition
        Instructions then
        Instructions otherwise

    cdef cppclass CInput "scanlib::Input":
        int buffer
        int first_dim_slot
        int ndim
        DType dtype

    cdef cppclass COutput "scanlib::Output":
        int buffer
        int offset_slot
        vector[int] dims
        DType dtype

    cdef cppclass CPlan "scanlib::Plan":
        vector[CBuffer] buffers
        vector[int64_t] initial_dims
        vector[CInput] inputs
        vector[COutput] outputs
        Instructions instructions


cdef extern from * nogil:
    """
    #include <utility>
    #include "scanlib/plan.hpp"
    template <class Operation>
    static void scanlib_append(scanlib::Instructions& instructions, Operation& operation) {
      instructions.push_back(scanlib::Instruction{std::move(operation)});
    }
    """
    void append "scanlib_append"(Instructions&, CCall&) except +
    void append "scanlib_append"(Instructions&, CLibrary&) except +
    void append "scanlib_append"(Instructions&, CAllocate&) except +
    void append "scanlib_append"(Instructions&, CRelease&) except +
    void append "scanlib_append"(Instructions&, CLoop&) except +
    void append "scanlib_append"(Instructions&, CBranch&) except +


cdef extern from "scanlib/profile.hpp" namespace "scanlib" nogil:
    cdef cppclass Counter:
        int64_t load()

    cdef cppclass LoopCounters:
        Counter calls
        Counter steps
        Counter blocks
        Counter total_ns
        Counter prologue_ns
        Counter recurrence_ns
        Counter epilogue_ns
        Counter bytes

    cdef cppclass CProfile "scanlib::Profile":
        Counter calls
        Counter total_ns
        vector[LoopCounters] loops


cdef extern from "scanlib/executor.hpp" namespace "scanlib" nogil:
    ctypedef void* KernelFunction "scanlib::KernelFunction"

    cdef cppclass InputView:
        const void* data
        const int64_t* dims

    cdef cppclass OutputView:
        const void* data
        DType dtype
        int ndim
        const int64_t* dims
        size_t bytes

    cdef cppclass InterruptHook:
        bool (*function)(void* context) noexcept
        void* context

    cdef cppclass Result:
        Result()
        const Failure& failure()
        OutputView output(size_t index)
        void* take(size_t index)
        int64_t peak_bytes()

    cdef cppclass CExecutable "scanlib::Executable":
        CExecutable(CPlan plan, vector[KernelFunction] kernels) except +
        void start_profile() except +
        const CProfile* profile()
        Result run(const InputView* inputs, const InterruptHook& interrupt)


cdef extern from "scanlib/memory.hpp" namespace "scanlib" nogil:
    void release(void* memory)
    int64_t c_allocated_bytes "scanlib::allocated_bytes"()
    int64_t c_peak_bytes "scanlib::peak_bytes"()
    void c_reset_peak_bytes "scanlib::reset_peak_bytes"()
    int64_t c_allocation_count "scanlib::allocation_count"()


cdef extern from "scanlib/ring.hpp" namespace "scanlib" nogil:
    int64_t c_ring_slots "scanlib::ring_slots"(int64_t keep, int64_t depth, bint in_place)


cdef extern from "scanlib/lanes.hpp" namespace "scanlib" nogil:
    const int64_t lane_grain
    const int64_t row_grain
    int c_lane_parts "scanlib::lane_parts"(int64_t lanes, int64_t grain, int64_t work, int threads)


cdef extern from "scanlib/threads.hpp" namespace "scanlib" nogil:
    int c_get_threads "scanlib::get_threads"()
    void c_set_threads "scanlib::set_threads"(int count)
