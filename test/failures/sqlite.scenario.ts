import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, it } from '@jest/globals'
import { longestWait, ofKind, slackMs, statuses, useParts } from './support/scene.ts'

const parts = useParts()

it('the disk of SQLite is full for 8 s: no page fails, sign-ins get 503', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portal-sso-full-'))
  const databaseUrl = `sqlite:${path.join(folder, 'portal.sqlite')}`
  const scene = await parts.startUnderLoad({ poolSize: 1 }, { databaseUrl })
  // SQLite reports a file that has reached this size like a full disk. No size below the current one applies.
  const outage = await scene.outage(
    8,
    () => scene.instance.post('sql', 'pragma max_page_count = 1'),
    () => scene.instance.post('sql', 'pragma max_page_count = 1000000'),
  )
  const { during } = outage
  expect(statuses(ofKind(during, 'page'))).toEqual([200])
  // The first ones find room in pages of the file.
  expect(statuses(ofKind(during, 'callback'))).toEqual([303, 503])
  expect(longestWait(outage, during)).toBeLessThan(2000 + slackMs)
})
