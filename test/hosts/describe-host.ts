import { afterAll, beforeAll, describe, it } from '@jest/globals'
import { Host, type RunningHost } from './host.ts'
import { signInAndOut } from './sign-in.ts'

interface HostDescription {
  /** the program to start, relative to the host's folder */
  entry: string
  /** commands that check or build it first */
  build?: [title: string, ...command: [string, ...string[]]][]
}

/** Installs and starts a host, signs a user in and out, and runs more tests with it. */
export function describeHost(
  name: string,
  { entry, build = [] }: HostDescription,
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
      running = await host.start(entry)
      await signInAndOut({ url: running.url })
    })

    more(host, () => running!)
  })
}
