import type { Payload, SendOptions } from './options';
import type { Peer } from './peer';

/** A message that arrived. It owns its bytes: keep it as long as you like. */
export class Message {
  readonly #peer: Peer;
  /** The channel it came on. */
  readonly channel: number;
  /** The payload, a copy of its own. */
  readonly data: Buffer;

  /** @internal */
  constructor(peer: Peer, channel: number, data: Buffer) {
    this.#peer = peer;
    this.channel = channel;
    this.data = data;
  }

  /** Sends `data` back on the channel of this message; for a call on COMMAND, this is its answer. Fails as `Peer.send` does. */
  reply(data: Payload, options: Omit<SendOptions, 'channel'> = {}): Promise<void> {
    return this.#peer.send(data, { ...options, channel: this.channel });
  }
}
