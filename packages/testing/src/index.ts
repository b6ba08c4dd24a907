export { ByteReader, ConnectionEnded, stuff, unstuff } from "./byte-reader.ts";
export { Child, run } from "./child-process.ts";
export type { ChildExit, ChildOptions, Finished } from "./child-process.ts";
export { FakeDnsServer } from "./fake-dns-server.ts";
export type { DecideDns, FakeDnsOptions, FakeDnsQuestion } from "./fake-dns-server.ts";
export type { DnsTrouble, DnsZone, FakeDnsReply } from "./dns-zone.ts";
export { FakeSmtpServer } from "./fake-smtp-server.ts";
export type { ConnectionTimes, FakeSmtpOptions, ReceivedMessage } from "./fake-smtp-server.ts";
export { smtpStages } from "./fake-smtp-stages.ts";
export type { Behaviour, Credentials, Decide, SmtpStage, StageEvent } from "./fake-smtp-stages.ts";
export type { TlsFacts } from "./server-handshake.ts";
export { firstGood } from "./first-good.ts";
export { freePort } from "./free-port.ts";
export { findBrokenInvariants } from "./invariants.ts";
export { Ledger } from "./ledger.ts";
export type { LedgerReport } from "./ledger.ts";
export {
  hasPostfixTools,
  SmtpSink,
  smtpSink,
  smtpSource,
  startSmtpSource,
} from "./postfix-tools.ts";
export type { DumpedMessage, SinkOptions, SourceOptions } from "./postfix-tools.ts";
export { PostmqSystem, ServiceProcess, startPostmq } from "./postmq-system.ts";
export type { PostmqOptions } from "./postmq-system.ts";
export { OwnRoot, ownRootDenied, ownRootObstacle, startInOwnRoot } from "./own-root.ts";
export type { OwnRootOptions } from "./own-root.ts";
export { postfixObstacle, PrivatePostfix } from "./private-postfix.ts";
export { RedisServer, startRedis } from "./redis-server.ts";
export type { RedisOptions } from "./redis-server.ts";
export { seededRandom } from "./seeded-random.ts";
export type { SeededRandom } from "./seeded-random.ts";
export { MailFlow } from "./mail-flow.ts";
export type { FlowOptions } from "./mail-flow.ts";
export { submitJson, submitRaw } from "./submission.ts";
export type { SubmissionAnswer } from "./submission.ts";
export { startDns } from "./test-dns.ts";
export type { TestDns } from "./test-dns.ts";
export { testCertificates } from "./test-certificates.ts";
export type { CertificateWishes, TestCertificate } from "./test-certificates.ts";
export { bodyOf, ledgerReader, readReport, testIdOf, testMail } from "./test-mail.ts";
export type { ReportedFailure, TestMail } from "./test-mail.ts";
export { SmtpClient, sendMail } from "./smtp-client.ts";
export type { ClientReply, MessageToSend } from "./smtp-client.ts";
export { TcpProxy } from "./tcp-proxy.ts";
export { waitFor } from "./wait-for.ts";
export type { WaitOptions } from "./wait-for.ts";
export { withStore } from "./with-store.ts";
export type { StoreUnderTest } from "./with-store.ts";
