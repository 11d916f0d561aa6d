import type { How } from './how.ts'

/** Seals all client secrets and keys under the first of the operator's secrets, in one transaction, while instances run. */
export type RotateSecrets = (how?: Pick<How, 'by'>) => Promise<{ providers: number }>

export function createRotateSecrets(_parts: object): RotateSecrets {
  return () => Promise.reject(new Error('under construction'))
}
