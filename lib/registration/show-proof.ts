import type { Request, Response } from 'express'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Addresses } from '../web/addresses.ts'
import type { Pages } from '../web/pages.ts'
import { goodFor } from './address-proof.ts'
import { accountOf, type PendingRegistration } from './pending-registration.ts'

export interface ShowProofParts {
  addresses: Addresses
  pages: Pages
  table: ProvidersTable
}

/** What is wrong with an entry, or with what came of it: key of a sentence under `proof.errors`, and the status to say it with. */
export interface ProofMistake {
  sentence: 'emailInvalid' | 'tooMany' | 'mailFailed' | 'codeMalformed' | 'codeWrong' | 'codeOver'
  status: 422 | 429 | 502
  /** tries that are left */
  left?: number
}

/** The two pages on which a person proves an address. They never know whether the portal has a user with it. */
export interface ShowProof {
  address(req: Request, res: Response, step: ProofStep, typed: string, mistake?: ProofMistake): Promise<void>
  /** @param again a code had been sent before */
  code(
    req: Request,
    res: Response,
    step: ProofStep,
    entered: { email: string; typed?: string; again?: boolean },
    mistake?: ProofMistake,
  ): Promise<void>
}

export interface ProofStep {
  pending: PendingRegistration
  provider: Provider
}

export function createShowProof({ addresses, pages, table }: ShowProofParts): ShowProof {
  /** The other proof: signing in the way one usually does. Offered to all, as this knows nobody yet. */
  async function otherWays({ pending: { portal, returnTo }, provider }: ProofStep): Promise<object[]> {
    const all = await table.listEnabled(portal)
    const others = all.filter(({ id }) => id !== provider.id)
    return [...others, provider].map(({ id, slug, displayName }) => {
      const sameProvider = id === provider.id
      const account = sameProvider ? 'other' : undefined
      return {
        displayName,
        sameProvider,
        href: addresses.path(`/login/${slug}`, { account, returnTo, proving: '1' }),
      }
    })
  }

  async function show(
    req: Request,
    res: Response,
    view: string,
    step: ProofStep,
    locals: object,
    mistake: ProofMistake | undefined,
  ): Promise<void> {
    const { t } = pages.locale(req)
    const sentence = mistake && t(`proof.errors.${mistake.sentence}`, { count: mistake.left ?? 0 })
    const entry = mistake?.status === 422 ? sentence : undefined
    const { returnTo } = step.pending
    await pages.show(
      req,
      res,
      view,
      {
        ...locals,
        error: { sentence, entry },
        account: accountOf(step.pending),
        provider: { displayName: step.provider.displayName },
        sendAction: addresses.path('/register/code'),
        cancelHref: addresses.path('/login', { returnTo, cancelled: 'registration' }),
        otherWays: await otherWays(step),
      },
      mistake?.status ?? 200,
    )
  }

  return {
    address: (req, res, step, typed, mistake) =>
      show(req, res, 'address', step, { typed: typed.slice(0, 254) }, mistake),
    code: (req, res, step, { email, typed = '', again = false }, mistake) =>
      show(
        req,
        res,
        'verify',
        step,
        {
          email,
          again,
          minutes: goodFor,
          typed: typed.slice(0, 40),
          action: addresses.path('/register/verify'),
          addressHref: addresses.path('/register', { address: 'other' }),
        },
        mistake,
      ),
  }
}
