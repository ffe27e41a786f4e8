/**
 * Fields of a siginfo_t that only some codes have. Pure.
 *
 * Offsets are those of 64-bit Linux, include/uapi/asm-generic/siginfo.h: three ints and padding,
 * then the union `_sifields` at 16. In `_sigfault`, `_addr` comes first and a union at 24 holds
 * `_addr_lsb` (a short), `_addr_bnd` or `_addr_pkey`; the latter two begin with padding as wide as
 * a pointer's alignment (`__ADDR_BND_PKEY_PAD`). `_sigsys` has `_call_addr`, `_syscall`, `_arch`.
 *
 * @module
 */
import { signalCodes, signalNumber } from "./signal_table.ts";

/** What a siginfo_t says beyond its signal, code and address. */
export interface SiginfoFields {
  readonly addressLsb: number | null;
  readonly bounds: { readonly lower: bigint; readonly upper: bigint } | null;
  readonly protectionKey: number | null;
  readonly synthCode: number;
  readonly synthData: bigint;
}

const offsets = { signo: 0, code: 8, addressLsb: 24, lower: 32, upper: 40, pkey: 32, syscall: 24 };

/** ZX_EXCP_POLICY_CODE_BAD_SYSCALL, whose data is the number of the call. */
const badSystemCall = 18;

const { SIGBUS, SIGSEGV, SIGSYS } = signalCodes;

/** Reads the fields that the siginfo's own signal and code promise. */
export function decodeSiginfo(siginfo: Uint8Array): SiginfoFields {
  const view = new DataView(siginfo.buffer, siginfo.byteOffset, siginfo.byteLength);
  const signal = view.getInt32(offsets.signo, true);
  const code = view.getInt32(offsets.code, true);
  const bus = signal === signalNumber("SIGBUS");
  const segv = signal === signalNumber("SIGSEGV");
  const policy = signal === signalNumber("SIGSYS") && code === SIGSYS.SYS_SECCOMP;
  const lost = bus && (code === SIGBUS.BUS_MCEERR_AR || code === SIGBUS.BUS_MCEERR_AO);
  return {
    addressLsb: lost ? view.getInt16(offsets.addressLsb, true) : null,
    bounds: segv && code === SIGSEGV.SEGV_BNDERR
      ? Object.freeze({
        lower: view.getBigUint64(offsets.lower, true),
        upper: view.getBigUint64(offsets.upper, true),
      })
      : null,
    protectionKey: segv && code === SIGSEGV.SEGV_PKUERR ? view.getUint32(offsets.pkey, true) : null,
    synthCode: policy ? badSystemCall : 0,
    synthData: policy ? BigInt(view.getInt32(offsets.syscall, true)) : 0n,
  };
}
