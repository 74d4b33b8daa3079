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
