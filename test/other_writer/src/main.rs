//! The crate minidump-writer, as a program: writes a dump of a process whose thread waits in the
//! handler of a signal. Arguments: the process; a file with what the handler got (the thread's id in
//! 8 bytes, signal, code and address in 8 bytes each, then the `ucontext_t`); the dump's path.
use minidump_writer::crash_context::CrashContext;
use minidump_writer::minidump_writer::MinidumpWriterConfig;
use minidump_writer::CrashContextExt;

fn word(bytes: &[u8], index: usize) -> i64 {
    i64::from_le_bytes(bytes[8 * index..8 * index + 8].try_into().unwrap())
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let process: i32 = words[1].parse().unwrap();
    let bytes = std::fs::read(&words[2]).unwrap();
    let thread = word(&bytes, 0) as i32;
    // SAFETY: every part is plain data, for which zero bytes are a value.
    let mut inner: CrashContext = unsafe { std::mem::zeroed() };
    inner.pid = process;
    inner.tid = thread;
    inner.siginfo.ssi_signo = word(&bytes, 1) as u32;
    inner.siginfo.ssi_code = word(&bytes, 2) as i32;
    inner.siginfo.ssi_addr = word(&bytes, 3) as u64;
    let context = &bytes[32..];
    let length = context.len().min(std::mem::size_of_val(&inner.context));
    // SAFETY: it is what the kernel gave, and not longer than where it goes.
    unsafe {
        let into = std::ptr::addr_of_mut!(inner.context).cast::<u8>();
        std::ptr::copy_nonoverlapping(context.as_ptr(), into, length);
    }
    let mut file = std::fs::File::create(&words[3]).unwrap();
    let mut writer = MinidumpWriterConfig::new(process, thread);
    writer.set_crash_context(CrashContextExt { inner });
    writer.write(&mut file).unwrap();
}
