/** Options of every action that an administrator takes. */
export interface ActOptions {
  /** default `default` */
  portal?: string | undefined
  /** the actor in the event log: a user's id, `cli`; default `code` */
  actor?: string | undefined
}
