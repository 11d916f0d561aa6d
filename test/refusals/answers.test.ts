import { testAftermath, testRefusals, useRefusalScene } from '../support/refusals.ts'
import { answers } from './tables/answers.ts'

const scene = useRefusalScene()

testRefusals(scene, answers)
testAftermath(scene)
