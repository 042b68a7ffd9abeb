# arch: i386
# purpose: Prints its arguments; shows where the kernel puts them.
# args: any number
# stdin: not read
# stdout: the arguments, separated by blanks, and a newline
# status: 0
# test: stdout="\n"
# test: args="one" stdout="one\n"
# test: args="one 'two  blanks' '' four" stdout="one two  blanks  four\n"

_start:
        mov     esi, [esp]              // argc
        lea     edi, [esp + 4]          // argv
        mov     ebp, 1                  // index of the argument
next:
        cmp     ebp, esi
        jae     end
        cmp     ebp, 1
        je      first
        lea     ecx, [blank]
        mov     edx, 1
        call    write
first:
        mov     ecx, [edi + 4*ebp]
        xor     edx, edx
length:
        cmp     byte ptr [ecx + edx], 0
        je      counted
        inc     edx
        jmp     length
counted:
        call    write
        inc     ebp
        jmp     next
end:
        lea     ecx, [newline]
        mov     edx, 1
        call    write
        mov     eax, 252
        xor     ebx, ebx
        int     0x80

write:                                  // ecx: bytes, edx: how many
        mov     eax, 4
        mov     ebx, 1
        int     0x80
        ret

blank:
        .ascii  " "
newline:
        .ascii  "\n"
