/** Where and by whom something is done. */
export interface ActOptions {
  /** default `default` */
  portal?: string | undefined
  /** for the event log: a user's id, `cli`; default `code` */
  actor?: string | undefined
}
