// Generated from core/errors.toml by `cargo xtask gen`. Do not edit.

/** One row of the error table. */
export interface ErrorRow {
  /** The contract: unique, never reused, the same in every language. */
  readonly number: number;
  /** The name in snake_case, the same in every language. */
  readonly name: string;
  /** What `HostlaneError.code` holds. */
  readonly code: string;
  /** One sentence for people. */
  readonly meaning: string;
  /** Whether the same call may succeed later without a change in the program. */
  readonly retryable: boolean;
}

/** Every error there is, in the order of the numbers. */
export const ERRORS = [
  {
    number: 101,
    name: 'invalid_argument',
    code: 'ERR_HOSTLANE_INVALID_ARGUMENT',
    meaning: 'An argument is outside what the function accepts.',
    retryable: false,
  },
  {
    number: 102,
    name: 'invalid_address',
    code: 'ERR_HOSTLANE_INVALID_ADDRESS',
    meaning: 'The address is in none of the known forms.',
    retryable: false,
  },
  {
    number: 103,
    name: 'address_too_long',
    code: 'ERR_HOSTLANE_ADDRESS_TOO_LONG',
    meaning: 'The socket path is longer than 100 bytes; paths are never truncated.',
    retryable: false,
  },
  {
    number: 104,
    name: 'closed',
    code: 'ERR_HOSTLANE_CLOSED',
    meaning: 'The object was closed by this side.',
    retryable: false,
  },
  {
    number: 105,
    name: 'invalid_handle',
    code: 'ERR_HOSTLANE_INVALID_HANDLE',
    meaning: 'The handle names no living object: it was never issued, was freed, or is of another kind.',
    retryable: false,
  },
  {
    number: 106,
    name: 'forked',
    code: 'ERR_HOSTLANE_FORKED',
    meaning: 'The object belongs to the parent process; a forked child opens its own.',
    retryable: false,
  },
  {
    number: 107,
    name: 'invalid_utf8',
    code: 'ERR_HOSTLANE_INVALID_UTF8',
    meaning: 'A text argument is not valid UTF-8.',
    retryable: false,
  },
  {
    number: 108,
    name: 'unsupported',
    code: 'ERR_HOSTLANE_UNSUPPORTED',
    meaning: 'This build, this address form or this wire level cannot do it.',
    retryable: false,
  },
  {
    number: 109,
    name: 'interrupted',
    code: 'ERR_HOSTLANE_INTERRUPTED',
    meaning: 'A signal arrived during the wait; nothing was lost, call again.',
    retryable: true,
  },
  {
    number: 110,
    name: 'cancelled',
    code: 'ERR_HOSTLANE_CANCELLED',
    meaning: 'The caller gave the operation up before it finished.',
    retryable: false,
  },
  {
    number: 111,
    name: 'invalid_channel',
    code: 'ERR_HOSTLANE_INVALID_CHANNEL',
    meaning: 'The channel is reserved, or was not agreed in the handshake of this connection.',
    retryable: false,
  },
  {
    number: 112,
    name: 'payload_too_large',
    code: 'ERR_HOSTLANE_PAYLOAD_TOO_LARGE',
    meaning: 'The message is larger than this connection allows; nothing was sent.',
    retryable: false,
  },
  {
    number: 113,
    name: 'wrong_driver',
    code: 'ERR_HOSTLANE_WRONG_DRIVER',
    meaning: 'A blocking call was made on an object that a context drives, or the other way round.',
    retryable: false,
  },
  {
    number: 114,
    name: 'authentication_required',
    code: 'ERR_HOSTLANE_AUTHENTICATION_REQUIRED',
    meaning: 'This address form is only served and used with an authentication option.',
    retryable: false,
  },
  {
    number: 115,
    name: 'would_block',
    code: 'ERR_HOSTLANE_WOULD_BLOCK',
    meaning: 'The channel has no credit now, and its policy is not to wait.',
    retryable: true,
  },
  {
    number: 116,
    name: 'call_ended',
    code: 'ERR_HOSTLANE_CALL_ENDED',
    meaning: 'The call was answered already, was given up by its caller, or ran out of time.',
    retryable: false,
  },
  {
    number: 201,
    name: 'connection_refused',
    code: 'ERR_HOSTLANE_CONNECTION_REFUSED',
    meaning: 'The address exists and nobody serves it.',
    retryable: true,
  },
  {
    number: 202,
    name: 'not_found',
    code: 'ERR_HOSTLANE_NOT_FOUND',
    meaning: 'Nothing exists at the address.',
    retryable: true,
  },
  {
    number: 203,
    name: 'address_in_use',
    code: 'ERR_HOSTLANE_ADDRESS_IN_USE',
    meaning: 'Another process serves the address.',
    retryable: true,
  },
  {
    number: 204,
    name: 'permission_denied',
    code: 'ERR_HOSTLANE_PERMISSION_DENIED',
    meaning: 'The operating system, or the identity check of this side, does not allow it.',
    retryable: false,
  },
  {
    number: 205,
    name: 'timeout',
    code: 'ERR_HOSTLANE_TIMEOUT',
    meaning: 'The deadline passed first.',
    retryable: true,
  },
  {
    number: 206,
    name: 'connection_lost',
    code: 'ERR_HOSTLANE_CONNECTION_LOST',
    meaning: 'The connection ended while something was still expected of it.',
    retryable: true,
  },
  {
    number: 207,
    name: 'peer_closed',
    code: 'ERR_HOSTLANE_PEER_CLOSED',
    meaning: 'The other side ended the connection between two messages.',
    retryable: true,
  },
  {
    number: 208,
    name: 'not_a_socket',
    code: 'ERR_HOSTLANE_NOT_A_SOCKET',
    meaning: 'The path is a file of another kind; it was left untouched.',
    retryable: false,
  },
  {
    number: 209,
    name: 'unsafe_directory',
    code: 'ERR_HOSTLANE_UNSAFE_DIRECTORY',
    meaning: 'The runtime directory belongs to somebody else, is a link, or is open to others.',
    retryable: false,
  },
  {
    number: 210,
    name: 'too_many_files',
    code: 'ERR_HOSTLANE_TOO_MANY_FILES',
    meaning: 'The process or the system has no file descriptor left.',
    retryable: true,
  },
  {
    number: 211,
    name: 'queue_full',
    code: 'ERR_HOSTLANE_QUEUE_FULL',
    meaning: 'A bounded queue is full; wait for running operations and try again.',
    retryable: true,
  },
  {
    number: 212,
    name: 'io',
    code: 'ERR_HOSTLANE_IO',
    meaning: 'The operating system reported an error that has no number of its own here.',
    retryable: false,
  },
  {
    number: 213,
    name: 'draining',
    code: 'ERR_HOSTLANE_DRAINING',
    meaning: 'The connection is being drained: nothing new can be started on it.',
    retryable: true,
  },
  {
    number: 214,
    name: 'peer_unresponsive',
    code: 'ERR_HOSTLANE_PEER_UNRESPONSIVE',
    meaning: 'The other side answered no keepalive in time: it is stopped or stuck.',
    retryable: true,
  },
  {
    number: 301,
    name: 'bad_magic',
    code: 'ERR_HOSTLANE_BAD_MAGIC',
    meaning: 'The bytes received are not a frame of this protocol.',
    retryable: false,
  },
  {
    number: 302,
    name: 'frame_too_large',
    code: 'ERR_HOSTLANE_FRAME_TOO_LARGE',
    meaning: 'A frame declared more bytes than this side accepts; it was judged by its header alone.',
    retryable: false,
  },
  {
    number: 303,
    name: 'truncated',
    code: 'ERR_HOSTLANE_TRUNCATED',
    meaning: 'The connection ended inside a frame.',
    retryable: true,
  },
  {
    number: 304,
    name: 'unknown_channel',
    code: 'ERR_HOSTLANE_UNKNOWN_CHANNEL',
    meaning: 'A frame arrived on a channel that was not agreed in the handshake.',
    retryable: false,
  },
  {
    number: 305,
    name: 'unknown_control',
    code: 'ERR_HOSTLANE_UNKNOWN_CONTROL',
    meaning: 'A control message arrived whose type this protocol does not know.',
    retryable: false,
  },
  {
    number: 306,
    name: 'bad_control',
    code: 'ERR_HOSTLANE_BAD_CONTROL',
    meaning: 'A control message is not valid JSON, or lacks its type.',
    retryable: false,
  },
  {
    number: 307,
    name: 'bad_handshake',
    code: 'ERR_HOSTLANE_BAD_HANDSHAKE',
    meaning: 'A handshake message is not valid JSON, lacks a member, or breaks a limit.',
    retryable: false,
  },
  {
    number: 308,
    name: 'protocol_mismatch',
    code: 'ERR_HOSTLANE_PROTOCOL_MISMATCH',
    meaning: 'The other side speaks another protocol.',
    retryable: false,
  },
  {
    number: 309,
    name: 'version_mismatch',
    code: 'ERR_HOSTLANE_VERSION_MISMATCH',
    meaning: 'The two sides have no protocol version in common.',
    retryable: false,
  },
  {
    number: 310,
    name: 'no_common_channel',
    code: 'ERR_HOSTLANE_NO_COMMON_CHANNEL',
    meaning: 'The two sides have no channel in common.',
    retryable: false,
  },
  {
    number: 311,
    name: 'authentication_failed',
    code: 'ERR_HOSTLANE_AUTHENTICATION_FAILED',
    meaning: 'The secret or the identity of the connecting side was not accepted.',
    retryable: false,
  },
  {
    number: 312,
    name: 'refused',
    code: 'ERR_HOSTLANE_REFUSED',
    meaning: 'The server ended the handshake without giving a reason.',
    retryable: false,
  },
  {
    number: 313,
    name: 'control_flood',
    code: 'ERR_HOSTLANE_CONTROL_FLOOD',
    meaning: 'The other side sent more control messages than the limit allows.',
    retryable: false,
  },
  {
    number: 314,
    name: 'too_many_handshakes',
    code: 'ERR_HOSTLANE_TOO_MANY_HANDSHAKES',
    meaning: 'The server had too many unfinished handshakes and dropped the oldest.',
    retryable: true,
  },
  {
    number: 315,
    name: 'protocol_error',
    code: 'ERR_HOSTLANE_PROTOCOL_ERROR',
    meaning: 'The other side broke a rule of the protocol.',
    retryable: false,
  },
  {
    number: 316,
    name: 'unknown_frame',
    code: 'ERR_HOSTLANE_UNKNOWN_FRAME',
    meaning: 'A frame of unknown type was marked critical.',
    retryable: false,
  },
  {
    number: 317,
    name: 'credit_exceeded',
    code: 'ERR_HOSTLANE_CREDIT_EXCEEDED',
    meaning: 'The other side sent more than it had credit for.',
    retryable: false,
  },
  {
    number: 401,
    name: 'schema_violation',
    code: 'ERR_HOSTLANE_SCHEMA_VIOLATION',
    meaning: 'The message does not satisfy the schema of its channel.',
    retryable: false,
  },
  {
    number: 402,
    name: 'bad_schema',
    code: 'ERR_HOSTLANE_BAD_SCHEMA',
    meaning: 'A schema file cannot be loaded.',
    retryable: false,
  },
  {
    number: 501,
    name: 'remote_error',
    code: 'ERR_HOSTLANE_REMOTE_ERROR',
    meaning: 'The program on the other side answered with an error.',
    retryable: false,
  },
  {
    number: 502,
    name: 'call_abandoned',
    code: 'ERR_HOSTLANE_CALL_ABANDONED',
    meaning: 'The program on the other side let the call go without an answer.',
    retryable: false,
  },
  {
    number: 901,
    name: 'internal',
    code: 'ERR_HOSTLANE_INTERNAL',
    meaning: 'A fault inside hostlane; please report it.',
    retryable: false,
  },
  {
    number: 902,
    name: 'panic',
    code: 'ERR_HOSTLANE_PANIC',
    meaning: 'A fault inside hostlane was caught at the language boundary; the object is no longer usable.',
    retryable: false,
  },
] as const satisfies readonly ErrorRow[];

/** The values of `HostlaneError.code`. */
export type ErrorCode = (typeof ERRORS)[number]['code'];

/** The values of `HostlaneError.kind`. */
export type ErrorKind = (typeof ERRORS)[number]['name'];

/** The values of `HostlaneError.number`. */
export type ErrorNumber = (typeof ERRORS)[number]['number'];

/** Whether anything left this process before the error: `no` is certain, `maybe` is not. */
export type Sent = 'no' | 'maybe';

const BY_CODE: ReadonlyMap<string, (typeof ERRORS)[number]> = new Map(ERRORS.map((row) => [row.code, row]));
const BY_NUMBER: ReadonlyMap<number, (typeof ERRORS)[number]> = new Map(ERRORS.map((row) => [row.number, row]));

/** Every failure of hostlane. Test on `code`; `message` is text for people and may change. */
export class HostlaneError extends Error {
  /** For example `ERR_HOSTLANE_TIMEOUT`. */
  readonly code: ErrorCode;
  /** The number of the error table, the same in every language. */
  readonly number: ErrorNumber;
  /** The name of the error table, for example `timeout`. */
  readonly kind: ErrorKind;
  /** Whether the same call may succeed later without a change in the program. */
  readonly retryable: boolean;
  /** Whether anything of the message left this process. */
  readonly sent: Sent;
  /** Of `ERR_HOSTLANE_REMOTE_ERROR`: the number the program on the other side failed the call with. */
  readonly status: number | undefined;
  /** Of `ERR_HOSTLANE_REMOTE_ERROR`: the bytes it gave along. */
  readonly data: Buffer | undefined;

  /** `code` is a code or a number of the table; `message` defaults to the meaning of the row. */
  constructor(
    code: ErrorCode | number,
    message?: string,
    options: {
      readonly cause?: unknown;
      readonly sent?: Sent;
      readonly status?: number | undefined;
      readonly data?: Buffer | undefined;
    } = {},
  ) {
    const row = typeof code === 'number' ? BY_NUMBER.get(code) : BY_CODE.get(code);
    if (row === undefined) {
      throw new TypeError(`${code} is no error of hostlane`);
    }
    super(message ?? row.meaning, 'cause' in options ? { cause: options.cause } : undefined);
    this.name = 'HostlaneError';
    this.code = row.code;
    this.number = row.number;
    this.kind = row.name;
    this.retryable = row.retryable;
    this.sent = options.sent ?? 'no';
    this.status = options.status;
    this.data = options.data;
  }
}
