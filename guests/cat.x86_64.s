# arch: x86_64
# purpose: Copies its input to its output, and copes with short writes.
# args: none
# stdin: anything, to its end
# stdout: the same bytes
# status: 0; 1 when a read or a write fails
# test: stdin="" stdout=""
# test: stdin="one\ntwo\n" stdout="one\ntwo\n"
# test: stdin="\x00\xff no newline" stdout="\x00\xff no newline"

_start:
read:
        xor     eax, eax                // read(0, buffer, size)
        xor     edi, edi
        lea     rsi, [rip + buffer]
        mov     edx, 65536
        syscall
        test    rax, rax
        jz      done
        js      failed
        lea     rbx, [rip + buffer]     // rbx: next byte to write, rbp: bytes left
        mov     rbp, rax
write:
        mov     eax, 1
        mov     edi, 1
        mov     rsi, rbx
        mov     rdx, rbp
        syscall
        test    rax, rax
        js      failed
        add     rbx, rax
        sub     rbp, rax
        jnz     write
        jmp     read
failed:
        mov     edi, 1
        jmp     exit
done:
        xor     edi, edi
exit:
        mov     eax, 231
        syscall

# data
buffer:
        .space  65536
