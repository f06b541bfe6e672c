"""Part of _core.pyx: the plan of plan.py as the structs of plan.hpp."""

cdef string text(object value) except *:
    return (<str>value).encode()


cdef COperand read_operand(object record) except *:
    cdef COperand operand
    operand.buffer = record.buffer
    operand.offset_slot = record.offset_slot
    operand.dims = record.dims
    operand.strides = record.strides
    operand.row_axis = record.row_axis
    return operand


cdef CBuffer read_buffer(object record) except *:
    cdef CBuffer buffer
    buffer.name = text(record.name)
    buffer.dtype = read_dtype(record.dtype)
    buffer.bytes_slot = record.bytes_slot
    if record.role == "input":
        buffer.role = Role.input
    elif record.role == "constant":
        buffer.role = Role.constant
        check_array(record.data, buffer.dtype, -1, "constant")
        if not cnp.PyArray_IS_C_CONTIGUOUS(record.data):
            raise internal_error(f"constant {record.name} is not C-contiguous")
        buffer.data = cnp.PyArray_DATA(record.data)
    else:
        buffer.role = Role.temporary
    return buffer


cdef CLoop read_loop(object record) except *:
    cdef CLoop loop
    cdef CStorage storage
    loop.name = text(record.name)
    loop.steps_slot = record.steps_slot
    loop.step_slot = record.step_slot
    loop.stop_slot = record.stop_slot
    loop.done_slot = record.done_slot
    loop.block_slot = record.block_slot
    loop.native = record.native
    loop.rows_slot = record.rows_slot
    loop.row_cost_slot = record.row_cost_slot
    loop.temporaries = record.temporaries
    loop.beside_cost_slot = record.beside_cost_slot
    loop.shared_buffers = record.shared_buffers
    for row in record.storages:
        storage.buffer = row.buffer
        storage.slot_bytes_slot = row.slot_bytes_slot
        storage.in_place = row.in_place
        storage.initial_slots = row.initial_slots
        storage.depth = row.depth
        storage.keep = row.keep
        loop.storages.push_back(storage)
    read_instructions(record.start, loop.start)
    read_instructions(record.prologue, loop.prologue)
    read_instructions(record.recurrence, loop.recurrence)
    read_instructions(record.epilogue, loop.epilogue)
    return loop


cdef CLibrary read_library(object record) except *:
    cdef CLibrary library
    library.kernel = text(record.kernel)
    library.name = text(record.name)
    library.parameters = record.parameters
    for operand in record.operands:
        library.operands.push_back(read_operand(operand))
    return library


cdef CBranch read_branch(object record) except *:
    cdef CBranch branch
    branch.condition = read_operand(record.condition)
    read_instructions(record.then, branch.then)
    read_instructions(record.otherwise, branch.otherwise)
    return branch


cdef int read_instructions(object records, Instructions& instructions) except -1:
    cdef CCall call
    cdef CLibrary library
    cdef CAllocate allocate
    cdef CRelease release_
    cdef CLoop loop
    cdef CBranch branch
    for record in records:
        if isinstance(record, Call):
            call.kernel = record.kernel
            call.name = text(record.name)
            call.lanes_slot = record.lanes_slot
            call.cost_slot = record.cost_slot
            call.together = record.together
            append(instructions, call)
        elif isinstance(record, Library):
            library = read_library(record)
            append(instructions, library)
        elif isinstance(record, Allocate):
            allocate.buffer = record.buffer
            append(instructions, allocate)
        elif isinstance(record, Release):
            release_.buffer = record.buffer
            append(instructions, release_)
        elif isinstance(record, Loop):
            loop = read_loop(record)
            append(instructions, loop)
        elif isinstance(record, Branch):
            branch = read_branch(record)
            append(instructions, branch)
        else:
            raise internal_error(f"a plan holds {record!r}, which is no instruction")
    return 0


cdef CPlan read_plan(object record) except *:
    cdef CPlan plan
    cdef CInput input_
    cdef COutput output
    for buffer in record.buffers:
        plan.buffers.push_back(read_buffer(buffer))
    plan.initial_dims = [int(value) for value in record.initial_dims]
    for row in record.inputs:
        input_.buffer = row.buffer
        input_.first_dim_slot = row.first_dim_slot
        input_.ndim = row.ndim
        input_.dtype = read_dtype(row.dtype)
        plan.inputs.push_back(input_)
    for row in record.outputs:
        output.buffer = row.buffer
        output.offset_slot = row.offset_slot
        output.dims = row.dims
        output.dtype = read_dtype(row.dtype)
        plan.outputs.push_back(output)
    read_instructions(record.instructions, plan.instructions)
    return plan
