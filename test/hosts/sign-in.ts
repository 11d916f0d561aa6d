import { expect } from '@jest/globals'
import { postResponse } from '../support/scene.ts'
import { formIn, type Seen, Visitor } from '../support/visitor.ts'

interface Part {
  visitor: Visitor
  /** URL of the host */
  url: string
  /** path where the host mounts `sso.router()` */
  mountPath?: string
  /** a guarded page that shows the user's address */
  guarded?: string
  /** slug of the provider */
  provider?: string
  /** login name at the provider */
  login?: string
}

/** Opens the guarded page, follows the picker to the provider, and submits the provider's forms. */
export async function signIn(part: Part): Promise<Seen> {
  const { visitor, url, guarded = '/portal', provider = 'acme', login = 'ada' } = part
  const picker = await visitor.open(url + guarded)
  const [, link] = new RegExp(`href="([^"]*/login/${provider}[^"]*)"`).exec(picker.body) ?? []
  if (link === undefined) throw new Error(`no button of ${provider} on\n${picker.body}`)
  let page = await visitor.open(new URL(link.replaceAll('&amp;', '&'), url).href)
  while (page.url.includes('/interaction/')) {
    const { action, fields } = formIn(page.body)
    page = await visitor.follow(
      await visitor.post(new URL(action, page.url).href, [...fields, ['login', login]]),
    )
  }
  return page.url.startsWith(url) ? page : await postResponse({ portal: { url }, visitor }, page)
}

/** An anonymous visitor registers, sees the guarded page, signs out, and signs in again as a known user. */
export async function signInAndOut({
  visitor = new Visitor(),
  ...host
}: Omit<Part, 'visitor'> & Partial<Part>) {
  const { url, mountPath = '', guarded = '/portal', login = 'ada' } = host
  const form = await signIn({ visitor, ...host })
  expect(form.url).toBe(`${url}${mountPath}/register`)
  const registered = await visitor.follow(await visitor.post(form.url, { name: 'Ada Lovelace' }))
  expect(registered).toMatchObject({ status: 200, url: url + guarded })
  expect(registered.body).toContain(`${login}@example.com`)
  await signOut({ visitor, ...host })
  expect(await signIn({ visitor, ...host })).toMatchObject({ url: url + guarded, status: 200 })
}

/** Signs out of the portal and of the provider. The guarded page then redirects to the login page again. */
export async function signOut({ visitor, url, mountPath = '', guarded = '/portal' }: Part): Promise<void> {
  const question = await visitor.open(`${url}${mountPath}/logout`)
  const { action, fields } = formIn(question.body)
  const theirs = await visitor.follow(await visitor.post(new URL(action, question.url).href, fields))
  const confirmation = formIn(theirs.body)
  const done = await visitor.post(confirmation.action, [...confirmation.fields, ['logout', 'yes']])
  expect((await visitor.follow(done)).url).toContain(`${url}${mountPath}/logout/done`)
  const anonymous = await visitor.get(url + guarded)
  expect(new URL(anonymous.location!).pathname).toBe(`${mountPath}/login`)
}
