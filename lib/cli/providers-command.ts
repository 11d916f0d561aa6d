import { Command } from 'commander'
import { addAdd } from './providers/add.ts'
import { addExport } from './providers/export.ts'
import { addImport } from './providers/import.ts'
import { addKeys } from './providers/keys.ts'
import { addLook } from './providers/look.ts'
import { addPart } from './providers/part.ts'
import { addPresets } from './providers/presets.ts'
import { addRebind } from './providers/rebind.ts'
import { addRehearse } from './providers/rehearse.ts'
import { addSwitches } from './providers/switches.ts'
import { addUpdate } from './providers/update.ts'

export function providersCommand(): Command {
  const command = new Command('providers').description('connect, test, change and part with OpenID Providers')
  addPresets(command)
  addAdd(command)
  addUpdate(command)
  addLook(command)
  addRehearse(command)
  addSwitches(command)
  addPart(command)
  addRebind(command)
  addKeys(command)
  addExport(command)
  addImport(command)
  return command
}
