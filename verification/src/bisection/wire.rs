//! Questions and answers as they travel between broadcaster and orchestrator.

use alloy_primitives::Bytes as HexBytes;
use framemill_network::{OpeningAnswer, OpeningQuestion};

use super::{Answer, Question};
use crate::commitment::Shape;

impl From<Question> for OpeningQuestion {
    fn from(question: Question) -> Self {
        match question {
            Question::Root => Self::Root,
            Question::FramesNode { level, index } => Self::FramesNode { level, index },
            Question::Frame { index } => Self::Frame { index },
            Question::BlocksNode { frame, level, index } => Self::BlocksNode { frame, level, index },
            Question::Block { frame, index } => Self::Block { frame, index },
        }
    }
}

impl From<OpeningQuestion> for Question {
    fn from(question: OpeningQuestion) -> Self {
        match question {
            OpeningQuestion::Root => Self::Root,
            OpeningQuestion::FramesNode { level, index } => Self::FramesNode { level, index },
            OpeningQuestion::Frame { index } => Self::Frame { index },
            OpeningQuestion::BlocksNode { frame, level, index } => Self::BlocksNode { frame, level, index },
            OpeningQuestion::Block { frame, index } => Self::Block { frame, index },
        }
    }
}

impl From<Answer> for OpeningAnswer {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Root { shape: Shape { width, height, frames }, frames_root } => {
                Self::Root { width, height, frames, frames_root }
            }
            Answer::Children { left, right } => Self::Children { left, right },
            Answer::Frame { bytes, blocks_root } => Self::Frame { bytes, blocks_root },
            Answer::Block { data } => Self::Block { data: data.0 },
        }
    }
}

impl From<OpeningAnswer> for Answer {
    fn from(answer: OpeningAnswer) -> Self {
        match answer {
            OpeningAnswer::Root { width, height, frames, frames_root } => {
                Self::Root { shape: Shape { width, height, frames }, frames_root }
            }
            OpeningAnswer::Children { left, right } => Self::Children { left, right },
            OpeningAnswer::Frame { bytes, blocks_root } => Self::Frame { bytes, blocks_root },
            OpeningAnswer::Block { data } => Self::Block { data: HexBytes(data) },
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use framemill_network::opening::MAX_OPENED_BYTES;

    use super::*;
    use crate::commitment::BLOCK_BYTES;

    #[test]
    fn questions_and_answers_come_back_from_the_wire() {
        let questions = [
            Question::Root,
            Question::FramesNode { level: 1, index: 2 },
            Question::Frame { index: 3 },
            Question::BlocksNode { frame: 4, level: 5, index: 6 },
            Question::Block { frame: 7, index: 8 },
        ];
        assert!(
            questions.iter().all(|&question| Question::from(OpeningQuestion::from(question)) == question)
        );
        let (left, right) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let answers = [
            Answer::Root { shape: Shape { width: 1, height: 2, frames: 3 }, frames_root: left },
            Answer::Children { left, right },
            Answer::Frame { bytes: 4, blocks_root: right },
            Answer::Block { data: HexBytes::from_static(b"block") },
        ];
        for answer in answers {
            assert_eq!(Answer::from(OpeningAnswer::from(answer.clone())), answer);
        }
        assert_eq!(BLOCK_BYTES, MAX_OPENED_BYTES);
    }
}
