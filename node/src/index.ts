// `Buffer` and `EventEmitter` are in the declarations: a program gets @types/node with them, whatever its "types" are.
/// <reference types="node" preserve="true" />
/** hostlane: a fast, safe, framed lane between the processes of one host. */
export { ERRORS, HostlaneError } from './errors';
export type { ErrorCode, ErrorKind, ErrorNumber, ErrorRow, Sent } from './errors';
export type { ChannelStats, Credentials, Depth, ListenerStats, PeerInfo, PeerStats, Refusal } from './info';
export { Link } from './link';
export type { LinkEvent, LinkEvents } from './link';
export { Listener, listen } from './listener';
export type { ListenerEvents } from './listener';
export * as log from './log';
export type { LogEvent, LogLevel } from './log';
export { Message } from './message';
export { Channel } from './options';
export type {
  CallOptions,
  CommonOptions,
  ConnectOptions,
  Descriptor,
  Descriptors,
  LinkOptions,
  LinkSendOptions,
  ListenOptions,
  Marks,
  Payload,
  Policy,
  ReceiveOptions,
  RequestOptions,
  SendBatchOptions,
  SendOptions,
  WaitOptions,
} from './options';
export { Peer, connect } from './peer';
export type { PeerEvents } from './peer';
export { HANDLER_FAILED } from './serve';
export type { Handler, ServeOptions } from './serve';
export { Stream } from './stream';
