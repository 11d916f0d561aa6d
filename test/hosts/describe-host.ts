import { afterAll, beforeAll, describe, it } from '@jest/globals'
import { Host, type RunningHost, type StartOptions } from './host.ts'
import { signInAndOut } from './sign-in.ts'

interface HostDescription extends StartOptions {
  /** the program to start, relative to the host's folder */
  entry: string
  /** commands that check or build it first */
  build?: [title: string, ...command: [string, ...string[]]][]
  /** a guarded page that shows the user's address; default `/portal` */
  guarded?: string
}

/** Installs and starts a host, signs a user in and out, and runs more tests with it. */
export function describeHost(
  name: string,
  { entry, build = [], guarded = '/portal', ...options }: HostDescription,
  more: (host: Host, running: () => RunningHost) => void = () => {},
): void {
  describe(`the host ${name}`, () => {
    const host = new Host(name)
    let running: RunningHost | undefined
    beforeAll(() => host.install())
    afterAll(() => running?.stop())

    for (const [title, ...command] of build)
      it(title, async () => {
        await host.run(...command)
      })

    it('signs a new user in, out, and in again', async () => {
      running = await host.start(entry, options)
      await signInAndOut({ url: running.url, guarded, ...options })
    })

    more(host, () => running!)
  })
}
