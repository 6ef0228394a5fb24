// From a multiboot loader to 64-bit code with AVX-512, and AMX where there is any, switched on. The first 4 GiB are where they are.
.section .multiboot, "a"
.align 4
.long 0x1BADB002, 0, -(0x1BADB002)

.bss
.align 4096
level4: .skip 4096
level3: .skip 4096
level2: .skip 4 * 4096
.align 64
stack: .skip 262144
stack_end:

.data
.align 8
segments: .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
segments_at:
.word 23
.long segments

.text
.code32
.globl _start
_start:
  cli
  mov $level3 + 3, %eax
  mov %eax, level4
  mov $level2 + 3, %eax
  mov $level3, %edi
  mov $4, %ecx
1: mov %eax, (%edi)
  add $4096, %eax
  add $8, %edi
  dec %ecx
  jnz 1b
  mov $level2, %edi
  mov $0x83, %eax  // pages of 2 MiB
  mov $2048, %ecx
2: mov %eax, (%edi)
  add $8, %edi
  add $0x200000, %eax
  dec %ecx
  jnz 2b
  mov %cr4, %eax
  or $0x40620, %eax  // PAE, SSE and its exceptions, XSAVE
  mov %eax, %cr4
  mov $level4, %eax
  mov %eax, %cr3
  mov $0xC0000080, %ecx
  rdmsr
  or $0x100, %eax  // long mode
  wrmsr
  mov %cr0, %eax
  and $~4, %eax
  or $0x80000022, %eax
  mov %eax, %cr0
  lgdt segments_at
  ljmp $8, $3f
.code64
3: mov $16, %ax
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  mov $0xd, %eax
  xor %ecx, %ecx
  cpuid
  xor %ecx, %ecx
  xor %edx, %edx
  and $0x600e7, %eax  // x87, SSE, AVX, AVX-512, tiles and their configuration: what of it the CPU has
  xsetbv
  mov $stack_end, %rsp
  call bare_main
4: hlt
  jmp 4b
