// See registers.h. The unwind information is right at every instruction after the
// pushes, whatever the registers hold: the frame is found from rsp alone.

        .macro  push_callee_saved register
        pushq   %\register
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %\register, 0
        .endm

        .macro  load_registers
        push_callee_saved rbp
        push_callee_saved rbx
        push_callee_saved r12
        push_callee_saved r13
        push_callee_saved r14
        push_callee_saved r15
        cmpl    $0, 652(%rdi)
        je      1f
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        vmovdqu 128+32*\n(%rdi), %ymm\n
        .endr
        jmp     2f
1:
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
        movdqu  128+32*\n(%rdi), %xmm\n
        .endr
2:
        fninit
        fldl    656(%rdi)
        ldmxcsr 648(%rdi)
        movq    %rsp, 56(%rdi)
        pushq   640(%rdi)
        .cfi_adjust_cfa_offset 8
        popfq
        .cfi_adjust_cfa_offset -8
        movq    0(%rdi), %rax
        movq    8(%rdi), %rbx
        movq    16(%rdi), %rcx
        movq    24(%rdi), %rdx
        movq    32(%rdi), %rsi
        movq    48(%rdi), %rbp
        movq    64(%rdi), %r8
        movq    72(%rdi), %r9
        movq    80(%rdi), %r10
        movq    88(%rdi), %r11
        movq    96(%rdi), %r12
        movq    104(%rdi), %r13
        movq    112(%rdi), %r14
        movq    120(%rdi), %r15
        movq    40(%rdi), %rdi
        .endm

        .text
        .globl  LoadRegistersAndFault
        .type   LoadRegistersAndFault, @function
LoadRegistersAndFault:
        .cfi_startproc
        load_registers
        .globl  registers_fault_instruction
registers_fault_instruction:
        movq    (%rax), %rax
        ud2
        .cfi_endproc
        .size   LoadRegistersAndFault, . - LoadRegistersAndFault

        .globl  LoadRegistersAndSpin
        .type   LoadRegistersAndSpin, @function
LoadRegistersAndSpin:
        .cfi_startproc
        load_registers
        movl    $1, registers_are_loaded(%rip)
        .globl  registers_spin_instruction
registers_spin_instruction:
        pause
        jmp     registers_spin_instruction
        .globl  registers_spin_end
registers_spin_end:
        ud2
        .cfi_endproc
        .size   LoadRegistersAndSpin, . - LoadRegistersAndSpin

        .bss
        .globl  registers_are_loaded
        .hidden registers_are_loaded
        .align  4
registers_are_loaded:
        .zero   4

        .section .note.GNU-stack, "", @progbits
