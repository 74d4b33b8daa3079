/** hostlane: a fast, safe, framed lane between the processes of one host. */
export { ERRORS, HostlaneError } from './errors';
export type { ErrorCode, ErrorKind, ErrorNumber, ErrorRow, Sent } from './errors';
export type { ChannelStats, Credentials, Depth, ListenerStats, PeerInfo, PeerStats, Refusal } from './info';
export { Listener, listen } from './listener';
export type { ListenerEvents } from './listener';
export { Message } from './message';
export { Channel } from './options';
export type {
  CallOptions,
  CommonOptions,
  ConnectOptions,
  ListenOptions,
  Marks,
  Payload,
  Policy,
  ReceiveOptions,
  SendBatchOptions,
  SendOptions,
  WaitOptions,
} from './options';
export { Peer, connect } from './peer';
export type { PeerEvents } from './peer';
export type { Handler, ServeOptions } from './serve';
export { Stream } from './stream';
