import type { HostlaneError } from './errors';
import type { Peer } from './peer';

/** Who operations belong to, and whether they keep the process alive. */
export class Owner {
  /** Operations of this owner that are under way. */
  pending = 0;
  /** Whether they keep the process alive. */
  referenced = true;

  /** What arrives is of `peer`; `failed` is called with every failure of an operation. */
  constructor(
    readonly peer?: Peer,
    readonly failed?: (error: HostlaneError) => void,
  ) {}
}
