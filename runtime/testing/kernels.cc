#include "testing/kernels.h"

#if !defined(__x86_64__)
#error "write the image of this architecture"
#endif

// rdi args, rsi dims, rdx workspace, rcx begin, r8 end. Float32 elements; args are (in, out).
__asm__(R"(
  .pushsection .rodata.kernel_image, "a"
  .p2align 12
kernel_image:

kernel_image_double:
  movq (%rdi), %rax
  movq 8(%rdi), %r9
1:
  cmpq %r8, %rcx
  jge 2f
  movss (%rax,%rcx,4), %xmm0
  addss %xmm0, %xmm0
  movss %xmm0, (%r9,%rcx,4)
  incq %rcx
  jmp 1b
2:
  xorl %eax, %eax
  ret

  .p2align 4
kernel_image_exp:
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  movq (%rdi), %rbx
  movq 8(%rdi), %rbp
  movq %rcx, %r12
  movq %r8, %r13
1:
  cmpq %r13, %r12
  jge 2f
  movss (%rbx,%r12,4), %xmm0
  call *kernel_image_table(%rip)
  movss %xmm0, (%rbp,%r12,4)
  incq %r12
  jmp 1b
2:
  xorl %eax, %eax
  popq %r14
  popq %r13
  popq %r12
  popq %rbp
  popq %rbx
  ret

  .p2align 4
kernel_image_fault:
  movl $2, %eax
  ret

  .p2align 12
kernel_image_table:
  .quad 0
  .p2align 12
kernel_image_end:
  .globl kernel_image
  .globl kernel_image_double
  .globl kernel_image_exp
  .globl kernel_image_fault
  .globl kernel_image_table
  .globl kernel_image_end
  .hidden kernel_image
  .hidden kernel_image_double
  .hidden kernel_image_exp
  .hidden kernel_image_fault
  .hidden kernel_image_table
  .hidden kernel_image_end
  .popsection
)");
