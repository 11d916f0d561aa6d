import { Command } from 'commander'
import { addAdd } from './providers/add.ts'
import { addEnableCommands } from './providers/enable.ts'
import { addExport, addImport } from './providers/export-import.ts'
import { addKeys } from './providers/keys.ts'
import { addListCommands, addPresets } from './providers/list.ts'
import { addRemoveCommands } from './providers/remove.ts'
import { addTestSignIn } from './providers/test-sign-in.ts'
import { addUpdate } from './providers/update.ts'

export function providersCommand(): Command {
  const command = new Command('providers').description('connect, test, change and remove OpenID Providers')
  addPresets(command)
  addAdd(command)
  addUpdate(command)
  addListCommands(command)
  addTestSignIn(command)
  addEnableCommands(command)
  addRemoveCommands(command)
  addKeys(command)
  addExport(command)
  addImport(command)
  return command
}
