import { PortalSsoError } from '../errors.ts'
import type { EndRehearsal } from '../sign-in/provider-router.ts'
import type { ProviderStrategies } from '../sign-in/provider-strategies.ts'
import type { Report } from './report.ts'
import { createWitness } from './witness.ts'

export interface EndRehearsalParts {
  report: Report
  strategies: ProviderStrategies
}

/** The same checks as for everybody, with somebody looking on. */
export function createEndRehearsal({ report, strategies }: EndRehearsalParts): EndRehearsal {
  return async (req, res, { provider, answer, attempt, rehearsal }) => {
    const witness = createWitness()
    const { observe } = witness
    const outcome = await strategies.finish(req, res, provider, { answer, attempt, observe }).then(
      (identity) => ({ identity }),
      (error: unknown) => {
        // Anything else is a failure of ours, and says nothing of the provider.
        if (error instanceof PortalSsoError) return { error }
        throw error
      },
    )
    const { returnTo } = attempt
    await report(req, res, { provider, rehearsal, returnTo, answer, witness, outcome })
  }
}
