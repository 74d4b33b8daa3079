import type { PeerInfo } from './info';
import type { Payload, WaitOptions } from './options';
import type { Peer } from './peer';

/** What messages come from: a peer or a link. */
export interface Origin {
  readonly owner: Owner;
  /** The peer, for what only peers have. */
  readonly peer: Peer | undefined;
  send(data: Payload, options: WaitOptions & { readonly channel: number }): Promise<void>;
  info(): PeerInfo;
}

/** Who operations belong to, and whether they keep the process alive. */
export class Owner {
  /** Operations of this owner that are under way. */
  pending = 0;
  /** Whether they keep the process alive. */
  referenced = true;

  /** What arrives is of `origin`; `failed` is called after every operation that failed. */
  constructor(
    readonly origin?: Origin,
    readonly failed?: () => void,
  ) {}
}
