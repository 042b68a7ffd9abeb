# arch: x86_64
# purpose: Prints its arguments; shows where the kernel puts them.
# args: any number
# stdin: not read
# stdout: the arguments, separated by blanks, and a newline
# status: 0
# test: stdout="\n"
# test: args="one" stdout="one\n"
# test: args="one 'two  blanks' '' four" stdout="one two  blanks  four\n"

_start:
        mov     r12, [rsp]              // argc
        lea     r13, [rsp + 8]          // argv
        mov     r14d, 1                 // index of the argument
next:
        cmp     r14, r12
        jae     end
        cmp     r14, 1
        je      first
        lea     rsi, [rip + blank]
        mov     edx, 1
        call    write
first:
        mov     rsi, [r13 + 8*r14]
        xor     edx, edx
length:
        cmp     byte ptr [rsi + rdx], 0
        je      counted
        inc     rdx
        jmp     length
counted:
        call    write
        inc     r14
        jmp     next
end:
        lea     rsi, [rip + newline]
        mov     edx, 1
        call    write
        mov     eax, 231
        xor     edi, edi
        syscall

write:                                  // rsi: bytes, rdx: how many
        mov     eax, 1
        mov     edi, 1
        syscall
        ret

blank:
        .ascii  " "
newline:
        .ascii  "\n"
