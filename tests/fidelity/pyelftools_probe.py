"""With pyelftools: the notes of a core, and memory by way of its segments."""

import sys

from elftools.elf.elffile import ELFFile

with open(sys.argv[1], "rb") as file:
    elf = ELFFile(file)
    print("@@ header")
    print(elf["e_type"], elf["e_machine"], elf.elfclass, elf.little_endian)
    threads = 0
    for segment in elf.iter_segments():
        if segment["p_type"] != "PT_NOTE":
            continue
        for note in segment.iter_notes():
            if note["n_name"] != "CORE":
                continue
            if note["n_type"] == "NT_PRSTATUS":
                threads += 1
            if note["n_type"] == "NT_PRPSINFO":
                print("@@ program")
                described = note["n_desc"]
                print(described["pr_fname"], described["pr_psargs"].rstrip(b" \0"))
                print(described["pr_pid"], described["pr_ppid"], described["pr_uid"])
            if note["n_type"] == "NT_FILE":
                print("@@ files")
                described = note["n_desc"]
                for entry, name in zip(described["Elf_Nt_File_Entry"], described["filename"]):
                    print(hex(entry["vm_start"]), hex(entry["vm_end"]), entry["page_offset"], name)
    print("@@ threads")
    print(threads)
