/**
 * The parameters of reports, as their parts want them.
 *
 * Source: spec delivery.md §9; bounce(8); postconf(5).
 */
import type { Parameters } from "@postmq/config";
import { loadTemplates } from "./template/load-templates.ts";
import type { Templates } from "./template/template.ts";
import type { NoticePolicy } from "./who-is-told.ts";

export type ReportSettings = NoticePolicy & {
  readonly myhostname: string;
  readonly mailName: string;
  /** empty_address_recipient: stands for the null sender where an address is needed. */
  readonly mailerDaemon: string;
  readonly bounceSizeLimit: number;
  /** maximal_queue_lifetime: how long a message is tried. */
  readonly lifetimeMs: number;
  /** enable_threaded_bounces. */
  readonly refersToOriginal: boolean;
  readonly templates: Templates;
};

/** @throws PMQ_CONFIG_INVALID when bounce_template_file can't be read or names a parameter that there is not. */
export function reportSettings(
  parameters: Parameters,
  onWarning: (text: string) => void,
): ReportSettings {
  return {
    myhostname: parameters.myhostname,
    myorigin: parameters.myorigin,
    mailName: parameters.mail_name,
    mailerDaemon: parameters.empty_address_recipient,
    doubleBounceSender: parameters.double_bounce_sender,
    bounceSizeLimit: parameters.bounce_size_limit,
    lifetimeMs: parameters.maximal_queue_lifetime,
    notifyClasses: new Set(parameters.notify_classes.map((word) => word.toLowerCase())),
    bounceNoticeRecipient: parameters.bounce_notice_recipient,
    doubleBounceNoticeRecipient: parameters["2bounce_notice_recipient"],
    delayNoticeRecipient: parameters.delay_notice_recipient,
    hasVerpReports: !parameters.disable_verp_bounces,
    refersToOriginal: parameters.enable_threaded_bounces,
    templates: loadTemplates(parameters, onWarning),
  };
}
