# arch: i386
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
        mov     eax, 3                  // read(0, buffer, size)
        xor     ebx, ebx
        lea     ecx, [buffer]
        mov     edx, 65536
        int     0x80
        test    eax, eax
        jz      done
        js      failed
        lea     esi, [buffer]           // esi: next byte to write, edi: bytes left
        mov     edi, eax
write:
        mov     eax, 4
        mov     ebx, 1
        mov     ecx, esi
        mov     edx, edi
        int     0x80
        test    eax, eax
        js      failed
        add     esi, eax
        sub     edi, eax
        jnz     write
        jmp     read
failed:
        mov     ebx, 1
        jmp     exit
done:
        xor     ebx, ebx
exit:
        mov     eax, 252
        int     0x80

# data
buffer:
        .space  65536
