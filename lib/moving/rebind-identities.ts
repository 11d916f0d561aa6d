import type { How } from '../providers/how.ts'

export interface RebindingPlan {
  /** identities that are linked through this provider */
  people: number
  /** of them, those that would be found again by what stays the same */
  findable: number
  /** the others: they would have to prove their address, or register again */
  orphans: { userId: string; email: string | undefined }[]
  /** who has been found again since the rebinding began */
  rebound: number
  since: string | undefined
}

/** When a provider gives its people new subjects: they are found again by tenant and object id, which stay the same. */
export interface Rebinding {
  /** What would happen; changes nothing. */
  rebindingPlan(slug: string, portal?: string): Promise<RebindingPlan>
  startRebinding(slug: string, how?: How): Promise<void>
  /** From now on nobody is found again so; who was stays. */
  stopRebinding(slug: string, how?: How): Promise<void>
  /** Takes back every link that the rebinding made. @returns how many */
  undoRebinding(slug: string, how?: How): Promise<number>
}

export function createRebinding(_parts: object): Rebinding {
  const missing = () => Promise.reject(new Error('under construction'))
  return { rebindingPlan: missing, startRebinding: missing, stopRebinding: missing, undoRebinding: missing }
}
